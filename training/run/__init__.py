"""What training commands share: their options and presets, and how a run begins and ends."""
