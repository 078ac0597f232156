"""Builds the model archives that TorchServe loads."""
