"""The library for callers: HTTP, gRPC and management, keys, retries, canaries. It knows only the wire."""
