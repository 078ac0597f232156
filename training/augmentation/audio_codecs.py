"""A waveform through a lossy codec and back, in memory."""

from __future__ import annotations

import io
from dataclasses import dataclass

import av
import numpy as np


@dataclass(frozen=True)
class Codec:
    """An encoder of libav with the container and setting it is used with.

    Attributes:
        name: encoder name.
        container: muxer name.
        rate_hz: sample rate that the encoder is fed.
        bit_rate: bits a second; None where the codec fixes it.
    """

    name: str
    container: str
    rate_hz: int
    bit_rate: int | None = None


CODECS = (
    Codec("libmp3lame", "mp3", 16_000, 24_000),
    Codec("libmp3lame", "mp3", 16_000, 48_000),
    Codec("aac", "adts", 16_000, 32_000),
    Codec("libopus", "ogg", 16_000, 12_000),
    Codec("libopus", "ogg", 16_000, 24_000),
    Codec("wmav2", "asf", 16_000, 32_000),
    Codec("g722", "wav", 16_000),
    Codec("pcm_mulaw", "wav", 8_000),
    Codec("pcm_alaw", "wav", 8_000),
)


def transcode(samples: np.ndarray, rate_hz: int, codec: Codec) -> np.ndarray:
    """Encode and decode; the encoder's delay is kept, as it is in files found in the wild.

    Args:
        samples: (N,) float mono.
        rate_hz: its sample rate, which the result has too.
        codec: what to go through.

    Returns:
        (M,) float32 mono, M near N.
    """
    return decode(encode(samples, rate_hz, codec), rate_hz)


def encode(samples: np.ndarray, rate_hz: int, codec: Codec) -> bytes:
    """A file of `codec` that holds samples (N,), mono at `rate_hz`."""
    encoded = io.BytesIO()
    with av.open(encoded, "w", format=codec.container) as output:
        stream = output.add_stream(codec.name, rate=codec.rate_hz, layout="mono")
        if codec.bit_rate:
            stream.bit_rate = codec.bit_rate
        frame = av.AudioFrame.from_ndarray(np.asarray(samples, np.float32)[None], format="fltp", layout="mono")
        frame.sample_rate = rate_hz
        resampler = av.AudioResampler(
            format=stream.format, layout="mono", rate=codec.rate_hz, frame_size=stream.frame_size
        )
        for part in [*resampler.resample(frame), *resampler.resample(None)]:
            output.mux(stream.encode(part))
        output.mux(stream.encode(None))
    return encoded.getvalue()


def decode(file: bytes | str, rate_hz: int) -> np.ndarray:
    """The sound of a file in memory, or at a path, (M,) float32 mono at `rate_hz`."""
    resampler = av.AudioResampler(format="flt", layout="mono", rate=rate_hz)
    with av.open(io.BytesIO(file) if isinstance(file, bytes) else file) as source:
        parts = [part for frame in source.decode(audio=0) for part in resampler.resample(frame)]
    parts += resampler.resample(None)
    return np.concatenate([part.to_ndarray()[0] for part in parts])
