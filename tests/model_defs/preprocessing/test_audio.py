"""Trimming, levelling and windowing: the whole of a clip is scored, and silence is not."""

from __future__ import annotations

import librosa
import numpy as np
import pytest
import torch

from model_defs.decoding.media import AudioSegment
from model_defs.errors import DetectionError, ErrorCode
from model_defs.preprocessing.audio import (
    audio_sample,
    fit_length,
    frame_rms,
    level,
    prepare_windows,
    whole_clip_windows,
)
from model_defs.preprocessing.audio_features import MfccFrontend
from model_defs.spec import AudioSpec

SPEC = AudioSpec()
RATE_HZ = SPEC.rate_hz
N = SPEC.n_samples


def sound(duration_s: float, amplitude: float = 0.1, seed: int = 0) -> np.ndarray:
    samples = np.random.default_rng(seed).normal(0, amplitude, round(duration_s * RATE_HZ))
    return samples.astype(np.float32)


def silence(duration_s: float) -> np.ndarray:
    return np.zeros(round(duration_s * RATE_HZ), np.float32)


def rms_dbfs(samples: np.ndarray) -> float:
    return 20 * np.log10(np.sqrt(np.mean(np.square(samples, dtype=np.float64))))


def refusal(*waves: np.ndarray) -> DetectionError:
    with pytest.raises(DetectionError) as refused:
        prepare_windows([AudioSegment(10.0 * index, wave) for index, wave in enumerate(waves)], SPEC)
    return refused.value


@pytest.mark.parametrize("n_samples", [0, 1, 511, 512, 2_048, 16_001])
def test_frame_rms_equals_librosa(n_samples: int) -> None:
    samples = sound(2.0)[:n_samples]
    expected = librosa.feature.rms(y=samples.astype(np.float64))[0] if n_samples else [0.0]
    np.testing.assert_allclose(frame_rms(samples), expected, atol=1e-9)


def test_trims_as_librosa_does() -> None:
    clip = np.concatenate([1e-3 * sound(1.3), sound(2.0), 1e-3 * sound(1.7)])  # hiss: digital silence is cut exactly
    trimmed, (start, _) = librosa.effects.trim(clip, top_db=SPEC.trim_db)
    windows, starts_s, _ = prepare_windows([AudioSegment(5.0, clip)], SPEC)
    assert starts_s == pytest.approx([5.0 + start / RATE_HZ], abs=1e-6)
    correlation = np.corrcoef(windows[0, : len(trimmed)], trimmed)[0, 1]
    assert correlation > 0.99999


def test_pauses_within_the_clip_stay() -> None:
    clip = np.concatenate([sound(1.0), 1e-3 * sound(1.5), sound(1.5)])
    windows, _, warnings = prepare_windows([AudioSegment(0.0, clip)], SPEC)
    assert windows.shape == (1, N)
    assert not warnings
    assert np.abs(windows[0, RATE_HZ + 4_000 : 2 * RATE_HZ]).max() < 1e-3


@pytest.mark.parametrize("extra", [-1, 0, 1])
@pytest.mark.parametrize("n_windows", [1, 2, 5, 8])
def test_windows_cover_every_sample(n_windows: int, extra: int) -> None:
    clip = np.arange(n_windows * N + extra, dtype=np.float32)
    windows, starts = whole_clip_windows(clip, SPEC)
    assert windows.shape[1] == N
    assert len(windows) == min(n_windows + (extra > 0), SPEC.max_windows)
    assert starts[0] == 0
    if len(clip) >= N:
        assert starts[-1] == len(clip) - N
    missed = len(clip) - len(np.unique(windows))
    assert missed == (1 if (n_windows, extra) == (8, 1) else 0)  # only past max_windows may there be gaps


def test_windows_are_evenly_spread_past_the_most() -> None:
    clip = np.arange(20 * N, dtype=np.float32)
    windows, starts = whole_clip_windows(clip, SPEC)
    assert len(windows) == SPEC.max_windows
    assert np.ptp(np.diff(starts)) <= 1
    assert windows[-1, -1] == clip[-1]


@pytest.mark.parametrize("n_samples", [1, 7, N - 1, N, N + 1])
def test_fit_length_repeats_from_the_start(n_samples: int) -> None:
    clip = np.arange(n_samples, dtype=np.float32)
    np.testing.assert_array_equal(fit_length(clip, N), np.arange(N) % n_samples)


def test_a_short_clip_is_repeated_and_says_so() -> None:
    windows, starts_s, warnings = prepare_windows([AudioSegment(0.0, sound(1.0))], SPEC)
    assert windows.shape == (1, N)
    assert starts_s == [0.0]
    assert [note.message for note in warnings] == ["1.00 s of sound was repeated to fill a window of 4 s"]
    np.testing.assert_array_equal(windows[0, :RATE_HZ], windows[0, RATE_HZ : 2 * RATE_HZ])


def test_a_clip_of_exactly_one_window_is_left_whole() -> None:
    clip = sound(SPEC.window_s)
    windows, _, warnings = prepare_windows([AudioSegment(0.0, clip)], SPEC)
    assert windows.shape == (1, N)
    assert not warnings
    assert np.corrcoef(windows[0], clip)[0, 1] > 0.99999


@pytest.mark.parametrize("amplitude", [0.003, 0.1, 0.9])
def test_every_clip_comes_to_one_level(amplitude: float) -> None:
    windows, _, _ = prepare_windows([AudioSegment(0.0, sound(9.0, amplitude))], SPEC)
    assert rms_dbfs(windows) == pytest.approx(SPEC.level_dbfs, abs=0.05)
    assert windows.dtype == np.float32


def test_level_stops_short_of_clipping() -> None:
    clicks = np.zeros((1, N), np.float32)
    clicks[0, :: N // 8] = 0.5
    levelled = level(clicks, SPEC.level_dbfs)
    assert np.abs(levelled).max() == pytest.approx(1.0)
    assert rms_dbfs(levelled) < SPEC.level_dbfs


def test_a_constant_offset_does_not_count_as_level() -> None:
    plain, _, _ = prepare_windows([AudioSegment(0.0, sound(4.0))], SPEC)
    offset, _, _ = prepare_windows([AudioSegment(0.0, sound(4.0) + 0.3)], SPEC)
    np.testing.assert_allclose(offset, plain, atol=1e-5)
    assert refusal(np.full(N, 0.5, np.float32)).code is ErrorCode.SILENT_AUDIO


def test_a_long_clip_keeps_its_spread_windows_and_drops_silent_ones() -> None:
    waves = [sound(SPEC.window_s), silence(SPEC.window_s), sound(SPEC.window_s, 0.05), sound(SPEC.window_s)[:-100]]
    segments = [AudioSegment(600.0 * index, wave) for index, wave in enumerate(waves)]
    windows, starts_s, warnings = prepare_windows(segments, SPEC)
    assert windows.shape == (3, N)
    assert starts_s == [0.0, 1_200.0, 1_800.0]
    assert [note.message for note in warnings] == ["1 of 4 audio windows were silent and left out"]
    assert rms_dbfs(windows[0]) - rms_dbfs(windows[1]) == pytest.approx(6.0, abs=0.2), "one gain for the whole clip"
    assert rms_dbfs(windows) == pytest.approx(SPEC.level_dbfs, abs=0.05)


@pytest.mark.parametrize(
    "waves",
    [
        [],
        [silence(0.0)],
        [silence(5.0)],
        [sound(5.0, amplitude=1e-4)],
        [silence(4.0), silence(4.0)],
    ],
    ids=["nothing", "empty", "zeros", "hiss", "long_and_silent"],
)
def test_silence_is_refused(waves: list[np.ndarray]) -> None:
    error = refusal(*waves)
    assert error.code is ErrorCode.SILENT_AUDIO
    assert "silent" in error.message


def test_too_little_sound_is_refused() -> None:
    error = refusal(np.concatenate([silence(2.0), sound(0.03), silence(2.0)]))
    assert error.code is ErrorCode.SILENT_AUDIO
    assert "at least 0.2 s" in error.message


@pytest.mark.parametrize("at_s", [0.0, 2.0, 5.0])
def test_digital_silence_leaves_what_was_there_before_it(at_s: float) -> None:
    clip, at = sound(5.0), round(at_s * RATE_HZ)
    gapped = np.concatenate([clip[:at], silence(0.3), clip[at:], silence(0.044)])
    windows, starts_s, _ = prepare_windows([AudioSegment(0.0, clip)], SPEC)
    again, later_s, _ = prepare_windows([AudioSegment(0.0, gapped)], SPEC)
    np.testing.assert_array_equal(windows, again)
    moved_s = [start_s + 0.3 * (start_s >= at_s) for start_s in starts_s]
    assert later_s == pytest.approx(moved_s), "windows are told by where they lie in the clip"


def test_the_pauses_of_a_faint_recording_are_no_digital_silence() -> None:
    clip = np.concatenate([sound(2.0, 1e-3), sound(0.5, 1e-5), sound(2.0, 1e-3)])
    windows, _, _ = prepare_windows([AudioSegment(0.0, clip)], SPEC)
    assert np.corrcoef(windows[0], clip[:N])[0, 1] > 0.99999


def test_audio_sample_holds_the_features_of_its_windows() -> None:
    frontend = MfccFrontend(SPEC)
    segments = [AudioSegment(0.0, sound(9.0))]
    sample = audio_sample(segments, SPEC, frontend)
    windows, _, _ = prepare_windows(segments, SPEC)
    assert windows.shape == (3, N)
    assert sample.features.shape == (3, SPEC.n_steps, SPEC.n_features)
    assert sample.starts_s == pytest.approx([0.0, 2.5, 5.0])
    assert torch.equal(sample.features, frontend(torch.from_numpy(windows)))
    assert not sample.warnings
