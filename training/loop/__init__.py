"""The training loop, whatever is trained: epochs, schedule, checkpoints, history, several processes."""
