"""What is trained: batches, loss and validation of audio and of video."""
