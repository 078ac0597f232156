"""What is trained: batches, loss and validation of sound and of video."""
