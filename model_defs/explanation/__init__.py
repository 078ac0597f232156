"""What a verdict rests on: attribution over frames, regions and seconds, and heat maps of it."""
