"""Bytes to frames and waveforms: containers, demultiplexing, sampling, and the limits on what decoding may cost."""
