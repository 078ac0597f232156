"""Everything that a weight file means: networks, their input, decoding, preprocessing, calibration, inference."""
