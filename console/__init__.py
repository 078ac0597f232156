"""The reviewer's console: a page in the browser over a running TorchServe. It knows the wire alone, by `client`."""
