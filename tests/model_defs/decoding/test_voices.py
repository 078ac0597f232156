"""Which channels are one sound, and which are voices of their own."""

from __future__ import annotations

import numpy as np
import pytest

from model_defs.decoding.media import Media
from model_defs.decoding.voices import Mix, find_voices
from tests.clips import write_audio

RATE_HZ = 16_000


def talk(seed: int, duration_s: float = 4.0) -> np.ndarray:
    """Noise in syllables and pauses, as speech has them."""
    rng = np.random.default_rng(seed)
    syllables = np.repeat(rng.uniform(0, 1, round(duration_s * 5)) > 0.5, RATE_HZ // 5).astype(np.float32)
    envelope = np.convolve(syllables, np.ones(800) / 800, "same")
    return (0.2 * rng.normal(size=len(envelope)) * (envelope + 0.003)).astype(np.float32)


def test_one_channel_and_equal_channels_are_one_voice():
    assert find_voices([talk(0)[None]], RATE_HZ) == [Mix((0,), (1,))]
    stereo = np.stack([talk(0), 0.8 * talk(0) + 0.1 * talk(1)])
    assert find_voices([stereo], RATE_HZ) == [Mix((0, 1), (1, 1))]


def test_two_callers_are_two_voices():
    assert [mix.channels for mix in find_voices([np.stack([talk(0), 2 * talk(1)])], RATE_HZ)] == [(1,), (0,)]


def test_spaced_microphones_are_one_voice():
    late = np.roll(talk(0), 160)  # 10 ms: the waveforms do not correlate, their loudness does
    assert [mix.channels for mix in find_voices([np.stack([talk(0), late])], RATE_HZ)] == [(0, 1)]


@pytest.mark.parametrize("gain", [-1.0, -0.98])
def test_opposite_phase_is_turned(gain: float):
    (mix,) = find_voices([np.stack([talk(0), np.float32(gain) * talk(0)])], RATE_HZ)
    assert mix == Mix((0, 1), (1, -1))
    mixed = mix.apply(np.stack([talk(0), np.float32(gain) * talk(0)]))
    np.testing.assert_allclose(mixed, (1 - gain) / 2 * talk(0), atol=1e-6)


def test_a_silent_channel_is_no_voice():
    assert [mix.channels for mix in find_voices([np.stack([0 * talk(0), talk(0)])], RATE_HZ)] == [(1,)]
    assert len(find_voices([np.zeros((2, 1_000), np.float32)], RATE_HZ)) == 1
    assert len(find_voices([np.zeros((2, 0), np.float32)], RATE_HZ)) == 1


@pytest.mark.parametrize(("container", "codec"), [("wav", "pcm_s16le"), ("ipod", "aac"), ("ogg", "libopus")])
def test_callers_of_a_file_are_told_apart_by_the_names_of_their_channels(container: str, codec: str):
    rate_hz = 48_000
    call = np.repeat(np.stack([talk(0), 0.5 * talk(1)]), 3, axis=1)
    with Media(write_audio(container, codec, sound=call, rate_hz=rate_hz, n_channels=2)) as media:
        voices = media.voices(RATE_HZ, 4.0, 8)
        (loudest,) = media.audio_segments(RATE_HZ, 4.0, 8)
    assert [voice.channels for voice in voices] == ["FL", "FR"]
    for voice, sound in zip(voices, (talk(0), talk(1)), strict=True):
        (segment,) = voice.segments
        level = np.sqrt(np.square(segment.samples).reshape(-1, 800).mean(1))
        known = np.sqrt(np.square(sound[: len(segment.samples)]).reshape(-1, 800).mean(1))
        assert np.corrcoef(level, known)[0, 1] > 0.9
    np.testing.assert_array_equal(loudest.samples, voices[0].segments[0].samples)


def test_opposite_phase_through_a_lossy_codec_is_the_sound_and_not_the_residue():
    sound = np.repeat(talk(0), 3)
    stereo = np.stack([sound, np.float32(-0.98) * sound])
    with Media(write_audio("ipod", "aac", sound=stereo, rate_hz=48_000, n_channels=2)) as media:
        (voice,) = media.voices(RATE_HZ, 4.0, 8)
    assert voice.is_turned
    assert voice.segments[0].samples.std() > 0.5 * talk(0).std() * 0.5
