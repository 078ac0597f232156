"""Frames and waveforms to tensors: face detection and tracking, crops, speech windows and features."""
