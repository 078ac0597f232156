"""Runs a server: start, stop, releases, probes, and the proxy before it."""
