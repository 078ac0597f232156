"""Which samples come back, from which moment, and how loud."""

from __future__ import annotations

import numpy as np
import pytest

from model_defs.decoding.media import Media
from tests.clips import add_cover_art, tone, with_tracks, write_audio, write_clip

RATE_HZ = 16_000
FORMATS = [
    ("wav", "pcm_s16le", RATE_HZ),
    ("wav", "pcm_s24le", 44_100),
    ("wav", "pcm_u8", 8_000),
    ("wav", "pcm_f32le", RATE_HZ),
    ("flac", "flac", RATE_HZ),
    ("mp3", "libmp3lame", 44_100),
    ("ogg", "libopus", 48_000),
    ("ogg", "vorbis", 48_000),
    ("ogg", "flac", RATE_HZ),
    ("opus", "libopus", 48_000),
    ("ipod", "aac", RATE_HZ),
    ("ipod", "alac", RATE_HZ),
    ("adts", "aac", 44_100),
    ("webm", "libopus", 48_000),
    ("matroska", "aac", 22_050),
    ("amr", "libopencore_amrnb", 8_000),
    ("3gp", "libopencore_amrnb", 8_000),
    ("wav", "adpcm_ima_wav", 8_000),
    ("wav", "adpcm_ms", RATE_HZ),
    ("wav", "g726", 8_000),
    ("wav", "pcm_alaw", 8_000),
    ("mpegts", "aac", 48_000),
    ("mpegts", "mp2", 48_000),
    ("mpegts", "ac3", 48_000),
    ("flv", "libmp3lame", 44_100),
    ("asf", "wmav2", 44_100),
]
IN_VIDEO = [("mp4", "libx264", "aac"), ("mov", "mpeg4", "aac"), ("webm", "libvpx", "libopus"), ("avi", "mpeg4", "aac")]


def segments_of(data: bytes, window_s: float = 4.0, max_windows: int = 8):
    with Media(data) as media:
        return media.audio_segments(RATE_HZ, window_s, max_windows)


def noise(duration_s: float) -> np.ndarray:
    """Sound in which every moment is different: low-passed noise, which lossy codecs keep."""
    white = np.random.default_rng(0).normal(0, 0.3, round(duration_s * RATE_HZ))
    return np.convolve(white, np.ones(8) / 8, "same").astype(np.float32)


def offset_s(sound: np.ndarray, samples: np.ndarray, start_s: float, reach_s: float = 0.2) -> float:
    """By how much later than `start_s` the samples are found in the sound (peak of the cross-correlation)."""
    reach = round(reach_s * RATE_HZ)
    start = round(start_s * RATE_HZ)
    window = sound[start - reach : start + len(samples) + reach]
    return (int(np.argmax(np.correlate(window, samples, "valid"))) - reach) / RATE_HZ


@pytest.mark.parametrize(("container", "codec", "rate_hz"), FORMATS)
def test_every_format_gives_the_whole_sound_at_its_level(container: str, codec: str, rate_hz: int):
    data = write_audio(container, codec, duration_s=3.0, rate_hz=rate_hz, n_channels=2 if codec == "vorbis" else 1)
    (segment,) = segments_of(data)
    assert segment.samples.dtype == np.float32
    assert segment.start_s == pytest.approx(0.0, abs=0.03)
    assert len(segment.samples) == pytest.approx(3 * RATE_HZ, abs=0.07 * RATE_HZ)
    middle = segment.samples[RATE_HZ : 2 * RATE_HZ]
    # A mono tone spread over two channels is written 3 dB down, so that its power is the same.
    level = 0.5 if codec != "vorbis" else 0.5 / np.sqrt(2)
    # AMR is a model of a voice and not of a tone.
    assert np.sqrt(np.mean(middle**2)) == pytest.approx(level / np.sqrt(2), rel=0.2 if "amr" in codec else 0.06)
    assert np.argmax(np.abs(np.fft.rfft(middle))) == 440  # one second: bins are hertz


@pytest.mark.parametrize(("container", "video_codec", "audio_codec"), IN_VIDEO)
def test_sound_inside_video(container: str, video_codec: str, audio_codec: str):
    rate_hz = 48_000 if audio_codec == "libopus" else RATE_HZ
    data = write_clip(container, video_codec, audio_codec, duration_s=2.0, rate_hz=rate_hz)
    with Media(data) as media:
        assert len(media.frames(2)) == 2  # both tracks of one open file, in any order
        (segment,) = media.audio_segments(RATE_HZ, 4.0, 8)
        assert len(media.frames(2)) == 2
    assert len(segment.samples) == pytest.approx(2 * RATE_HZ, abs=0.15 * RATE_HZ)
    assert np.abs(segment.samples).max() == pytest.approx(0.5, rel=0.05)


def test_channels_are_averaged():
    (segment,) = segments_of(write_audio(n_channels=2, duration_s=1.0))
    assert np.abs(segment.samples).max() == pytest.approx(0.5 / np.sqrt(2), rel=0.01)


@pytest.mark.parametrize(("container", "codec"), [("wav", "pcm_s16le"), ("ipod", "aac"), ("flac", "flac")])
@pytest.mark.parametrize("n_channels", [6, 8])
def test_surround_sound_becomes_mono(container: str, codec: str, n_channels: int):
    (segment,) = segments_of(write_audio(container, codec, n_channels=n_channels, duration_s=1.0))
    assert len(segment.samples) == pytest.approx(RATE_HZ, abs=0.1 * RATE_HZ)
    assert np.argmax(np.abs(np.fft.rfft(segment.samples[:RATE_HZ]))) == 440


@pytest.mark.parametrize(
    ("container", "codec"),
    [("wav", "pcm_s16le"), ("flac", "flac"), ("mp3", "libmp3lame"), ("ipod", "aac"), ("matroska", "aac")],
)
def test_windows_of_a_long_clip_are_reached_exactly(container: str, codec: str):
    sound = noise(40.0)
    segments = segments_of(write_audio(container, codec, sound=sound, rate_hz=RATE_HZ), window_s=2.0, max_windows=4)
    assert [segment.start_s for segment in segments] == pytest.approx([4.0, 14.0, 24.0, 34.0], abs=0.1)
    for segment in segments:
        assert len(segment.samples) == 2 * RATE_HZ
        assert offset_s(sound, segment.samples[:RATE_HZ], segment.start_s) == pytest.approx(0.0, abs=0.002)


def test_windows_in_video_are_reached_by_its_index():
    sound = noise(40.0)
    data = write_clip("matroska", audio_codec="pcm_s16le", duration_s=40.0, fps=5, gop=10, sound=sound)
    with Media(data) as media:
        segments = media.audio_segments(RATE_HZ, 2.0, 4)
        assert media.counts.audio_frames < 200  # of 625
    for segment in segments:
        assert offset_s(sound, segment.samples[:RATE_HZ], segment.start_s) == pytest.approx(0.0, abs=0.002)


def test_a_clip_of_just_the_windows_length_is_one_segment():
    assert len(segments_of(write_audio(duration_s=8.0), window_s=2.0, max_windows=4)) == 1
    assert len(segments_of(write_audio(duration_s=8.1), window_s=2.0, max_windows=4)) == 4


def test_samples_that_are_no_numbers_become_silence():
    sound = tone(1.0)
    sound[100:200] = np.nan
    sound[5_000] = np.inf
    with Media(write_audio("wav", "pcm_f32le", sound=sound)) as media:
        (segment,) = media.audio_segments(RATE_HZ, 4.0, 8)
        assert media.warnings == ["101 audio samples were not finite and were set to 0"]
    assert np.isfinite(segment.samples).all()
    assert not segment.samples[100:200].any()
    np.testing.assert_array_equal(segment.samples[200:5_000], sound[200:5_000])


@pytest.mark.parametrize(("container", "codec"), [("mp3", "libmp3lame"), ("flac", "flac"), ("mp4", "aac")])
def test_cover_art_is_no_video(container: str, codec: str):
    data = add_cover_art(write_audio("ipod" if container == "mp4" else container, codec, rate_hz=44_100), container)
    with Media(data) as media:
        assert media.video is None
        assert len(media.audio_segments(RATE_HZ, 4.0, 8)[0].samples) == pytest.approx(2 * RATE_HZ, abs=0.1 * RATE_HZ)


@pytest.mark.parametrize(("container", "codec"), [("wav", "pcm_s16le"), ("mp3", "libmp3lame"), ("flac", "flac")])
def test_a_truncated_file_gives_what_there_is(container: str, codec: str):
    data = write_audio(container, codec, duration_s=10.0)
    (segment,) = segments_of(data[: len(data) // 2])
    assert len(segment.samples) == pytest.approx(5 * RATE_HZ, rel=0.15)


def test_sound_shorter_than_the_video_is_found_and_told():
    data = write_clip("matroska", audio_codec="aac", duration_s=40.0, fps=5, gop=10, sound=tone(6.0))
    with Media(data) as media:
        (segment,) = media.audio_segments(RATE_HZ, 2.0, 4)
        assert any("6.0 s long, not 40.0 s" in warning for warning in media.warnings)
    assert len(segment.samples) == pytest.approx(6 * RATE_HZ, abs=0.1 * RATE_HZ)


@pytest.mark.parametrize(
    ("container", "codec", "rate_hz"),
    [("mp4", "aac", 44_100), ("ipod", "aac", RATE_HZ), ("mp4", "libmp3lame", 44_100), ("mp3", "libmp3lame", 44_100),
     ("ogg", "libopus", 48_000), ("webm", "libopus", 48_000), ("mov", "alac", RATE_HZ)],
)  # fmt: skip
def test_what_an_encoder_puts_before_and_after_the_sound_is_cut_off(container: str, codec: str, rate_hz: int):
    (segment,) = segments_of(write_audio(container, codec, duration_s=1.0, rate_hz=rate_hz))
    assert len(segment.samples) == pytest.approx(RATE_HZ, abs=2)
    for edge in (segment.samples[:160], segment.samples[-160:]):  # no delay, no padding: the tone is there at once
        assert np.sqrt(np.mean(edge**2)) > 0.1


def test_itunes_note_of_padding_is_heeded():
    note = " 00000000 00000000 00000400 0000000000003A98 00000000"  # 15,000 samples of the 16,384 that are there
    data = write_audio("ipod", "aac", duration_s=1.0, metadata={"iTunSMPB": note})
    with Media(data) as media:
        assert media._file.audio.ends_exactly
    if b"iTunSMPB" in data:
        (segment,) = segments_of(data)
        assert len(segment.samples) == 15_000


@pytest.mark.parametrize(("container", "codec"), [("matroska", "flac"), ("ogg", "libopus"), ("webm", "libopus")])
def test_a_clock_that_starts_elsewhere_does_not_count_as_length(container: str, codec: str):
    offset = {"output_ts_offset": "18000"}
    data = write_audio(container, codec, duration_s=3.0, rate_hz=48_000, container_options=offset)
    with Media(data) as media:
        assert media.duration_s == pytest.approx(3.0, abs=0.1)
        (segment,) = media.audio_segments(RATE_HZ, 4.0, 8)
        assert not media.warnings
    assert segment.start_s == pytest.approx(0.0, abs=0.03)
    assert len(segment.samples) == pytest.approx(3 * RATE_HZ, abs=0.07 * RATE_HZ)


def test_raw_aac_is_as_long_as_its_packets_say():
    sound = np.concatenate([tone(1.0, level=0.9), noise(9.0)])  # the first frames are no measure of the others' size
    with Media(write_audio("adts", "aac", sound=sound)) as media:
        assert media.duration_s == pytest.approx(10.0, abs=0.2)


def test_a_picture_in_seconds_of_sound_is_its_cover_without_a_flag_too():
    with Media(write_clip("mp4", "mjpeg", "aac", times_s=[0.0], sound=tone(5.0))) as media:
        assert media.video is None
        assert len(media.audio_segments(RATE_HZ, 4.0, 8)) == 1
    with Media(write_clip("mp4", "mjpeg", times_s=[0.0])) as media:
        assert media.video is not None  # by itself it is what there is to be judged


@pytest.mark.parametrize("container", ["mp4", "matroska"])
def test_the_default_track_comes_first_and_others_after_it(container: str):
    tones = [write_audio("ipod", "aac", sound=tone(2.0, frequency_hz=hz), rate_hz=RATE_HZ) for hz in (300.0, 1_000.0)]
    with Media(with_tracks(*tones, container=container, default=1)) as media:
        assert media.n_audio_tracks == 2
        voices = media.voices(RATE_HZ, 4.0, 8)
    assert [voice.track for voice in voices] == [0, 1]  # in the order in which they are preferred
    heard = [np.abs(np.fft.rfft(voice.segments[0].samples[:RATE_HZ])).argmax() for voice in voices]
    assert heard == [1_000, 300]
