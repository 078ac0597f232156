"""The TorchServe side: thin handlers, the request contract, metrics and logs."""
