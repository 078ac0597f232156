"""The perf-regression check: `python -m loadtest.gate`."""
