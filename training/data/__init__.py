"""Clips: where they come from (`sources`), how they are divided, decoded once (`prepared`), and drawn."""
