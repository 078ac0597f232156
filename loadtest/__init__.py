"""Load tests, benchmarks and comparisons with other servers; they know only the wire."""
