"""Files made to break a decoder, and the means to throw them at ours: `python -m tests.hostile --help`."""
