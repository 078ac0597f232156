"""What a run costs: CPU and memory of process trees, caches, the machine it ran on."""
