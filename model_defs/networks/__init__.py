"""The networks, their registry, weight files and exported artifacts."""
