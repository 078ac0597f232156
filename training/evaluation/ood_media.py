"""Media that are neither faces nor speech, made here: what an anomaly score should tell from the clips of a data set.

They are files, and go through the same decoding, face search and features as any other.
"""

from __future__ import annotations

import io
from collections.abc import Callable, Iterator, Sequence
from fractions import Fraction
from importlib.resources import files as package_files
from pathlib import Path

import av
import cv2
import numpy as np
from PIL import Image
from scipy.signal import lfilter
from tqdm import tqdm

from model_defs.networks.weights import sha256_of
from training.augmentation.audio_codecs import Codec, encode
from training.data.clip import MEDIA_SUFFIXES, DatasetError
from training.evaluation.file_scores import Candidate, ScoreCache, sampled, score_file

MADE = 1  # raise it when the way of making a file changes
N_FILES = 20  # of each kind
RATE_HZ = 16_000
_DURATION_S = 4.0
_HEIGHT_PX, _WIDTH_PX, _N_FRAMES, _FPS = 240, 320, 12, 12
_PHOTOGRAPHS = ("chelsea.png", "coffee.png", "rocket.jpg", "motorcycle_left.png", "coins.png", "moon.png", "retina.jpg")
_TEXTURES = ("brick.png", "grass.png", "gravel.png", "ihc.png", "hubble_deep_field.jpg")
_PAGES = ("page.png", "text.png")

Make = Callable[[np.random.Generator], bytes]


def kinds(modality: str) -> dict[str, Make]:
    """Kind -> a function from a generator to a file; the pictures are scikit-image's, without a face."""
    if modality == "audio":
        makers = {"music": _music, "noise": _noise, "tones": _tones, "clicks": _clicks}
        return {name: lambda rng, make=make: _sound(make(rng)) for name, make in makers.items()}
    makers = {
        "photographs": lambda rng: _pan(rng, _PHOTOGRAPHS),
        "textures": lambda rng: _pan(rng, _TEXTURES),
        "printed pages": lambda rng: _pan(rng, _PAGES),
        "drawn faces": _drawn_face,
        "noise": _snow,
    }
    return {name: lambda rng, make=make: _clip(make(rng)) for name, make in makers.items()}


def made_files(modality: str, n_files: int = N_FILES) -> Iterator[tuple[str, int, Callable[[], bytes]]]:
    """(kind, number, a function that makes the file); the same number gives the same file."""
    for index, (kind, make) in enumerate(kinds(modality).items()):
        for number in range(n_files):
            yield kind, number, lambda make=make, seed=(index, number): make(np.random.default_rng(seed))


def _sound(samples: np.ndarray) -> bytes:
    samples = 0.8 * samples / np.abs(samples).max()
    return encode(samples, RATE_HZ, Codec("pcm_s16le", "wav", RATE_HZ))


def _times_s() -> np.ndarray:
    return np.arange(int(_DURATION_S * RATE_HZ)) / RATE_HZ


def _music(rng: np.random.Generator) -> np.ndarray:
    """Plucked strings in a major scale, two or three voices, over a drum."""
    beat = int(RATE_HZ * rng.choice([0.2, 0.25, 0.4]))
    sound = np.zeros(len(_times_s()))
    scale_hz = 220.0 * 2.0 ** (np.array([0, 2, 4, 5, 7, 9, 11, 12]) / 12)
    for _ in range(rng.integers(2, 4)):
        start = 0
        while start < len(sound):
            pitch_hz, decay = rng.choice(scale_hz) * rng.choice([0.5, 1.0, 2.0]), rng.uniform(1, 6)
            times_s = np.arange(min(beat * rng.integers(1, 4), len(sound) - start)) / RATE_HZ
            note = sum(np.sin(2 * np.pi * pitch_hz * n * times_s) / n for n in range(1, 8))
            sound[start : start + len(times_s)] += note * np.exp(-decay * times_s)
            start += len(times_s)
    for start in range(0, len(sound), 2 * beat):
        length = min(2_000, len(sound) - start)
        sound[start : start + length] += 2 * rng.normal(size=length) * np.exp(-np.arange(length) / 300)
    return sound


def _noise(rng: np.random.Generator) -> np.ndarray:
    """From white to reddish, swelling like wind or traffic."""
    white = rng.normal(size=len(_times_s()))
    swell = 1 + 0.8 * np.sin(2 * np.pi * rng.uniform(0.2, 3) * _times_s())
    return swell * lfilter([1.0], [1.0, -rng.uniform(0.0, 0.97)], white)


def _tones(rng: np.random.Generator) -> np.ndarray:
    """Up to four sines or sweeps, as of alarms and signals."""
    sound = 1e-3 * rng.normal(size=len(_times_s()))
    for _ in range(rng.integers(1, 5)):
        start_hz, end_hz = rng.uniform(100, 6_000, 2)
        end_hz = rng.choice([start_hz, end_hz])
        phase = start_hz * _times_s() + (end_hz - start_hz) * _times_s() ** 2 / (2 * _DURATION_S)
        sound += np.sin(2 * np.pi * phase)
    return sound


def _clicks(rng: np.random.Generator) -> np.ndarray:
    """Knocks of a table or keys, dry or ringing."""
    sound = 1e-3 * rng.normal(size=len(_times_s()))
    sound[rng.integers(0, len(sound), rng.integers(5, 60))] += rng.uniform(-1, 1)
    ring, pitch = rng.uniform(0.5, 0.99), rng.uniform(0.02, 1.0)
    return lfilter([1.0], [1.0, -2 * ring * np.cos(pitch), ring**2], sound)


def _clip(pictures: list[np.ndarray]) -> bytes:
    file = io.BytesIO()
    with av.open(file, "w", format="mp4") as output:
        stream = output.add_stream("libx264", rate=_FPS, options={"crf": "20", "preset": "veryfast", "threads": "1"})
        stream.height, stream.width, stream.pix_fmt = _HEIGHT_PX, _WIDTH_PX, "yuv420p"
        for index, picture in enumerate(pictures):
            frame = av.VideoFrame.from_ndarray(np.ascontiguousarray(picture), format="rgb24")
            frame.pts, frame.time_base = index, Fraction(1, _FPS)
            output.mux(stream.encode(frame))
        output.mux(stream.encode(None))
    return file.getvalue()


def _pan(rng: np.random.Generator, names: tuple[str, ...]) -> list[np.ndarray]:
    """A camera that glides over a picture."""
    with Image.open(package_files("skimage.data") / str(rng.choice(names))) as image:
        picture = np.array(image.convert("RGB"))
    scale = max(_HEIGHT_PX / picture.shape[0], _WIDTH_PX / picture.shape[1]) * rng.uniform(1.15, 2.0)
    picture = cv2.resize(picture, None, fx=scale, fy=scale, interpolation=cv2.INTER_AREA if scale < 1 else None)
    room = np.array(picture.shape[:2]) - (_HEIGHT_PX, _WIDTH_PX)
    start, end = rng.uniform(0, 1, (2, 2)) * room
    path = [(start + (end - start) * step).astype(int) for step in np.linspace(0, 1, _N_FRAMES)]
    return [picture[y : y + _HEIGHT_PX, x : x + _WIDTH_PX] for y, x in path]


def _drawn_face(rng: np.random.Generator) -> list[np.ndarray]:
    """A cartoon: flat colours, black outlines, a mouth that moves."""
    back, skin, hair = (tuple(int(value) for value in rng.integers(low, 256, 3)) for low in (0, 120, 0))
    centre, size = (_WIDTH_PX // 2 + int(rng.integers(-20, 21)), _HEIGHT_PX // 2), int(rng.integers(55, 85))
    pictures = []
    for step in range(_N_FRAMES):
        picture = np.full((_HEIGHT_PX, _WIDTH_PX, 3), back, np.uint8)
        x, y = centre[0] + int(3 * np.sin(step)), centre[1]
        cv2.ellipse(picture, (x, y - size // 4), (size, size), 0, 0, 360, hair, -1)
        for colour, width in ((skin, -1), ((0, 0, 0), 2)):
            cv2.ellipse(picture, (x, y), (int(size * 0.8), size), 0, 0, 360, colour, width)
        for side in (-1, 1):
            eye = (x + side * size // 3, y - size // 5)
            cv2.circle(picture, eye, size // 6, (255, 255, 255), -1)
            cv2.circle(picture, eye, size // 6, (0, 0, 0), 2)
            cv2.circle(picture, eye, size // 12, (0, 0, 0), -1)
        cv2.line(picture, (x, y - size // 10), (x - size // 10, y + size // 6), (0, 0, 0), 2)
        opening = 3 + int(size / 8 * (1 + np.sin(1.7 * step)))
        cv2.ellipse(picture, (x, y + size // 2), (size // 3, opening), 0, 0, 360, (150, 20, 30), -1)
        pictures.append(picture)
    return pictures


def _snow(rng: np.random.Generator) -> list[np.ndarray]:
    """A screen without a signal."""
    return [
        cv2.resize(rng.integers(0, 256, (_HEIGHT_PX // 2, _WIDTH_PX // 2, 3), np.uint8), (_WIDTH_PX, _HEIGHT_PX))
        for _ in range(_N_FRAMES)
    ]


def score_unlike(
    candidates: Sequence[Candidate], cache: ScoreCache, n_files: int, folders: Sequence[Path] = ()
) -> dict[str, dict[str, np.ndarray]]:
    """Kind -> candidate -> distances from the train clips, (n,); files that serving refuses are left out.

    Empty where no candidate has an OOD distance.

    Args:
        candidates: of one modality.
        n_files: of each kind that is made here.
        folders: of further files; each is a kind, by its name.

    Raises:
        DatasetError: a folder holds no media file.
    """
    if not any("anomaly_percentiles" in one.manifest for one in candidates):
        return {}
    modality = candidates[0].modality
    files = [(kind, make, ["unlike", MADE, kind, number]) for kind, number, make in made_files(modality, n_files)]
    for folder in folders:
        paths = sorted(path for path in folder.rglob("*") if path.suffix.lower() in MEDIA_SUFFIXES)
        if not paths:
            raise DatasetError(f"{folder} holds no media files")
        files += [(folder.name, path, ["unlike", sha256_of(path)]) for path in paths]
    found: dict[str, dict[str, list[float]]] = {}
    for kind, file, identity in tqdm(files, f"{modality}, unlike", unit="file", leave=False):
        source = sampled(file)
        for one in candidates:
            key = cache.key(*identity, one.sha256)
            if (record := cache.get(key)) is None:
                record = score_file(one, source)
                cache.put(key, record)
            if record.get("distance") is not None:
                found.setdefault(kind, {}).setdefault(one.name, []).append(record["distance"])
    return {kind: {name: np.array(part) for name, part in parts.items()} for kind, parts in found.items()}
