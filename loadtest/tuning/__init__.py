"""The search for batch sizes, delays and workers: `python -m loadtest.tuning`."""
