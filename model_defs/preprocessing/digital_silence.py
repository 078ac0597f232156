"""Silence that is no sound: runs of zeros from a mute button, a noise gate, discontinuous transmission, padding.

A microphone never gives them, so they tell of the way that a file took and not of the voice in it; yet their level is
far below every pause in speech, and moves each deviation that is taken over time. So they are cut out before windows
are laid: no frame of features ever holds one, and a gap that was put into a clip leaves what was there before.
"""

from __future__ import annotations

import numpy as np

MAX_LEVEL = 1.5 * 2.0**-15  # one step of 16-bit samples, and the ripple that a resampler leaves beside it
MAX_SHARE_OF_PEAK = 1e-3  # nor within 60 dB of the loudest sample: a faint recording is not cut up
MIN_RUN_S = 0.02  # shorter ones are the pauses between the periods of a clipped or synthetic voice


def find_sound(samples: np.ndarray, rate_hz: int, peak: float) -> np.ndarray | None:
    """Which samples are no digital silence.

    Nothing is faded where two pieces then meet: measured on 143 clips, an edge moved p_fake by as much as a shift of
    the analysis frames by 4 ms does, and with no fade an inserted gap comes out again to the sample.

    Args:
        samples: (N,) float32, full scale 1.
        peak: the loudest sample of the whole clip.

    Returns:
        Their places in `samples`, rising, (M,) int64; None where there is no digital silence.
    """
    is_silent = np.abs(samples) <= min(MAX_LEVEL, MAX_SHARE_OF_PEAK * peak)
    edges = np.flatnonzero(np.diff(is_silent, prepend=False, append=False)).reshape(-1, 2)  # first, one after the last
    runs = edges[edges[:, 1] - edges[:, 0] >= MIN_RUN_S * rate_hz]
    if not len(runs):
        return None
    is_sound = np.ones(len(samples), bool)
    for start, end in runs.tolist():
        is_sound[start:end] = False
    return np.flatnonzero(is_sound)
