"""From a checkpoint to what is served: quantized, measured, described, written as TorchScript."""
