"""What drives a run: Locust, rolling versions, the search for a rate, parity with the local detector."""
