"""Which channels of a track carry one voice, and which another: what is mixed, and what is judged by itself.

A mean of all channels is right for music and film, and wrong for two callers of which each has a channel of their own,
or for channels of opposite phase, whose mean is what their codec got wrong.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

COHERENT = 0.5  # correlation, of either sign, from which two channels are one sound
SAME_LOUDNESS = 0.6  # correlation of loudness over time from which they are one sound at two places: spaced microphones
ENVELOPE_S = 0.05
FLOOR_DB = -40.0  # below the loudest channel is no voice of its own
MAX_VOICES = 4  # of one track, the loudest


@dataclass(frozen=True)
class Mix:
    """Channels that are one sound.

    Attributes:
        channels: their places.
        signs: 1 each, -1 where a channel is of opposite phase to the first.
    """

    channels: tuple[int, ...]
    signs: tuple[int, ...]

    def apply(self, samples: np.ndarray) -> np.ndarray:
        """The mean of its channels, those of opposite phase turned: (C, N) -> (N,)."""
        if len(self.channels) == 1:
            return samples[self.channels[0]]
        weights = np.zeros(len(samples), np.float32)
        weights[list(self.channels)] = np.float32(1 / len(self.channels)) * np.asarray(self.signs, np.float32)
        return weights @ samples


def find_voices(parts: Sequence[np.ndarray], rate_hz: int) -> list[Mix]:
    """How the channels of a clip go together, the loudest first; at least one mix.

    Args:
        parts: stretches of the clip, each (C, N) float32; what is not finite counts as silence.
    """
    n_channels = len(parts[0])
    if n_channels == 1:
        return [Mix((0,), (1,))]
    products = sum(np.nan_to_num(part @ part.T) for part in parts)  # (C, C)
    powers = np.diag(products).copy()
    loudest_first = np.argsort(-powers, kind="stable").tolist()
    audible = [i for i in loudest_first if powers[i] > powers[loudest_first[0]] * 10 ** (FLOOR_DB / 10)]
    if not audible:
        return [Mix(tuple(range(n_channels)), (1,) * n_channels)]
    loudness = np.concatenate([_loudness(part, rate_hz) for part in parts], axis=1) if len(audible) > 1 else None
    mixes: list[dict[int, int]] = []
    for channel in audible:
        for mix in mixes:
            first = next(iter(mix))
            coherence = products[first, channel] / np.sqrt(powers[first] * powers[channel])
            if abs(coherence) >= COHERENT:
                mix[channel] = 1 if coherence > 0 else -1
                break
            if _correlation(loudness[first], loudness[channel]) >= SAME_LOUDNESS:
                mix[channel] = 1
                break
        else:
            mixes.append({channel: 1})
    return [Mix(tuple(sorted(mix)), tuple(mix[i] for i in sorted(mix))) for mix in mixes[:MAX_VOICES]]


def _loudness(part: np.ndarray, rate_hz: int) -> np.ndarray:
    """Level of every `ENVELOPE_S`, in dB above -60 of full scale: (C, N) -> (C, N // step)."""
    step = max(1, round(ENVELOPE_S * rate_hz))
    n_steps = part.shape[1] // step
    power = np.square(part[:, : n_steps * step]).reshape(len(part), n_steps, step).mean(axis=2)
    return 10 * np.log10(np.maximum(np.nan_to_num(power), 1e-6))


def _correlation(one: np.ndarray, other: np.ndarray) -> float:
    if len(one) < 2 or not one.std() or not other.std():
        return 0.0
    return float(np.corrcoef(one, other)[0, 1])
