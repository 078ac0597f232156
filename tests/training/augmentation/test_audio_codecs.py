"""Every codec really goes through: the sound comes back, a little changed."""

from __future__ import annotations

import numpy as np
import pytest

from tests.clips import tone
from training.augmentation.audio_codecs import CODECS, transcode


@pytest.mark.parametrize("codec", CODECS, ids=lambda codec: f"{codec.name}-{codec.bit_rate}")
def test_sound_survives_the_codec(codec):
    sound = tone(1.0, frequency_hz=500.0)
    decoded = transcode(sound, 16_000, codec)
    assert decoded.dtype == np.float32
    assert abs(len(decoded) - len(sound)) < 4_000
    spectrum = np.abs(np.fft.rfft(decoded))
    assert np.argmax(spectrum) * 16_000 / len(decoded) == pytest.approx(500.0, abs=3.0)
    assert np.std(decoded) == pytest.approx(np.std(sound), rel=0.15)
    assert not np.array_equal(decoded[: len(sound)], sound[: len(decoded)])
