"""What a network is worth: clips scored as serving scores them, metrics with intervals, calibration."""
