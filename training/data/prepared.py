"""Decode once: what the network sees before normalisation, in memory-mapped arrays.

Each clip becomes one array in the cache folder: face crops (T, S, S, 3) uint8 for
video, the decoded waveform (N,) float32 for audio. They are made by the code
that serves requests, so a network is trained on the pixels that it will
meet. The name of an array is the digest of the file's content and the cache's
folder that of the InputSpec and of the code that prepares: after a change of any
of them a clip is prepared anew, an
interrupted run goes on where it stopped, and a clip that cannot be used is named,
left out, and remembered with its error code.
"""

from __future__ import annotations

import hashlib
import json
import os
import threading
from collections import Counter
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path

import cv2
import numpy as np
from tqdm import tqdm

from model_defs.decoding.media import AudioSegment, Frame, Media
from model_defs.errors import DetectionError, ErrorCode
from model_defs.limits import Limits
from model_defs.preprocessing.digest import preprocessing_digest
from model_defs.preprocessing.face_detection import FaceDetector, create_detector
from model_defs.preprocessing.video import video_sample
from model_defs.spec import AudioSpec, InputSpec, spec_to_dict
from training.data.datasets import Clip, DatasetError, LeakError

DEFAULT_CACHE = Path("build/prepared")
N_NAMED = 20  # clips left out that are named on the terminal; all are in REFUSED_FILE
REFUSED_FILE = "refused.txt"
UNREADABLE = "unreadable_file"  # the file itself cannot be read now, so nothing is remembered of it


@dataclass(frozen=True)
class PreparedClip:
    """A clip and the array that was made of it.

    Attributes:
        clip: the labelled file.
        array_path: the `.npy` file.
        starts_s: time of each frame or segment in the clip, s.
        lengths: samples of each audio segment, which lie end to end in the array; empty for video.
        n_faces: frames that show a face; 0 for audio.
        machine: the one that has the array, where each has a part (`training.data.shards`).
    """

    clip: Clip
    array_path: Path
    starts_s: tuple[float, ...]
    lengths: tuple[int, ...]
    n_faces: int
    machine: int = 0

    @property
    def n_frames(self) -> int:
        """Frames of a video clip, segments of an audio clip."""
        return len(self.starts_s)

    def array(self) -> np.ndarray:
        """The array, mapped into memory and read-only."""
        return np.load(self.array_path, mmap_mode="r")

    def audio_segments(self) -> list[AudioSegment]:
        """The waveform as `Media.audio_segments` gave it."""
        parts = np.split(np.array(self.array()), np.cumsum(self.lengths)[:-1])
        return [AudioSegment(start_s, samples) for start_s, samples in zip(self.starts_s, parts, strict=True)]


def prepare(
    clips: Sequence[Clip],
    spec: InputSpec,
    cache_dir: Path = DEFAULT_CACHE,
    *,
    n_workers: int = 2,
    limits: Limits | None = None,
    show_progress: bool = True,
) -> list[PreparedClip]:
    """Decode and crop whatever is not in the cache yet; clips that cannot be used are left out, and told.

    Args:
        clips: of any split.
        spec: of the network that is to be trained.
        cache_dir: made when it is missing; may be shared by runs and specs.
        n_workers: threads; decoding and face detection release the interpreter.
        limits: what one file may cost; by default the limits of serving.
        show_progress: draw a bar on stderr.

    Raises:
        LeakError: the same content lies in two splits.
        DatasetError: the same content carries both labels, or no clip could be used.
    """
    folder = Path(cache_dir) / f"{spec.modality}-{_spec_digest(spec)}"
    folder.mkdir(parents=True, exist_ok=True)
    preparer = _Preparer(spec, folder, limits or Limits(), _Digests(Path(cache_dir) / "digests.json"))
    with ThreadPoolExecutor(n_workers) as pool:
        results = pool.map(preparer, clips)
        bar = tqdm(results, f"prepare {spec.modality}", len(clips), unit="clip", disable=not show_progress)
        try:
            prepared = list(bar)
        except BaseException:
            pool.shutdown(cancel_futures=True)  # Ctrl-C: what is under way is finished, the rest is not begun
            raise
        finally:
            preparer.digests.save()
    compare_contents(clips, [digest for digest, _ in prepared])
    usable, refused = [], []
    for clip, (_, result) in zip(clips, prepared, strict=True):
        if isinstance(result, PreparedClip):
            usable.append(result)
        else:
            refused.append((clip, result))
    _report(refused, len(clips), folder)
    if not usable:
        raise DatasetError(f"none of the {len(clips)} clips could be decoded")
    return usable


def check_contents(clips: Sequence[Clip], cache_dir: Path = DEFAULT_CACHE, *, n_workers: int = 2) -> None:
    """Hash all files, decoding none.

    Raises:
        LeakError: the same content lies in two splits.
        DatasetError: the same content carries both labels.
    """
    compare_contents(clips, content_digests(clips, cache_dir, n_workers=n_workers))


def content_digests(clips: Sequence[Clip], cache_dir: Path = DEFAULT_CACHE, *, n_workers: int = 2) -> list[str]:
    """SHA-256 of each file in hex; empty for what is no file."""
    digests = _Digests(Path(cache_dir) / "digests.json")
    with ThreadPoolExecutor(n_workers) as pool:
        found = list(pool.map(lambda clip: digests.of(clip.path) if clip.path.is_file() else "", clips))
    digests.path.parent.mkdir(parents=True, exist_ok=True)
    digests.save()
    return found


def verify_fresh(prepared: Sequence[PreparedClip], spec: InputSpec, n_clips: int = 3) -> None:
    """Decode some clips again and compare: preprocessing may have changed since the cache was filled.

    Raises:
        DatasetError: an array is not what serving would make of its clip today, bit for bit.
    """
    for item in prepared[:: max(1, len(prepared) // n_clips)][:n_clips]:
        array, _ = _Preparer(spec, item.array_path.parent, Limits(), None).decode(item.clip)
        if not np.array_equal(array, item.array()):
            raise DatasetError(
                f"{item.clip.path} is prepared otherwise today than in {item.array_path.parent}; delete that folder"
            )


class _Preparer:
    """Turns one clip into its array; called from several threads."""

    def __init__(self, spec: InputSpec, folder: Path, limits: Limits, digests: _Digests | None) -> None:
        self.spec = spec
        self.folder = folder
        self.limits = limits
        self.digests = digests
        self._lock = threading.Lock()
        self._detector: FaceDetector | None = None

    def __call__(self, clip: Clip) -> tuple[str, PreparedClip | str]:
        """(content digest, prepared clip or error code); the digest is empty where the file cannot be read."""
        try:
            digest = self.digests.of(clip.path)
        except OSError:
            return "", UNREADABLE
        array_path = self.folder / f"{digest}.npy"
        record_path = self.folder / f"{digest}.json"
        if record_path.is_file():
            record = json.loads(record_path.read_text())
        else:
            try:
                array, record = self.decode(clip)
                write_atomically(array_path, lambda file: np.save(file, array))
            except DetectionError as error:
                record = {"error": error.code.value}
            except cv2.error:
                record = {"error": ErrorCode.UNDECODABLE_MEDIA.value}
            # The record is written last: where it lies, the array is whole.
            write_atomically(record_path, lambda file: file.write(json.dumps(record).encode()))
        if "error" in record:
            return digest, record["error"]
        return digest, PreparedClip(
            clip, array_path, tuple(record["starts_s"]), tuple(record["lengths"]), record["n_faces"]
        )

    def decode(self, clip: Clip) -> tuple[np.ndarray, dict]:
        """The array of a clip and what is recorded of it; raises DetectionError."""
        if isinstance(self.spec, AudioSpec):
            with Media(clip.path, self.limits) as media:
                segments = media.audio_segments(self.spec.rate_hz, self.spec.window_s, self.spec.max_windows)
            array = np.concatenate([segment.samples for segment in segments])
            starts_s, n_faces = [segment.start_s for segment in segments], 0
            lengths = [len(segment.samples) for segment in segments]
        else:
            sample = video_sample(self._frames(clip), self.spec, self._face_detector())
            array, starts_s, n_faces, lengths = sample.crops, sample.times_s, sample.n_faces, []
        return array, {"starts_s": [float(start_s) for start_s in starts_s], "lengths": lengths, "n_faces": n_faces}

    def _frames(self, clip: Clip) -> list[Frame]:
        if clip.is_image:
            image = cv2.imread(str(clip.path), cv2.IMREAD_COLOR)
            if image is None:
                raise DetectionError(ErrorCode.UNDECODABLE_MEDIA, f"{clip.path} is no readable picture")
            return [Frame(time_s=0.0, image=cv2.cvtColor(image, cv2.COLOR_BGR2RGB))]
        with Media(clip.path, self.limits) as media:
            return media.frames(n_frames=self.spec.n_frames)

    def _face_detector(self) -> FaceDetector:
        with self._lock:
            if self._detector is None:
                self._detector = create_detector(self.spec.face_detector)
            return self._detector


class _Digests:
    """SHA-256 of files, remembered by path, size and time of change: a large set is read once, not at each start."""

    def __init__(self, path: Path) -> None:
        self.path = path
        self.known = self._read()

    def of(self, path: Path) -> str:
        """The digest in hex; raises OSError where the file cannot be read."""
        state = path.stat()
        key, stamp = str(path.resolve()), [state.st_size, state.st_mtime_ns]
        record = self.known.get(key)
        if record is None or record[:2] != stamp:
            with path.open("rb") as file:
                record = [*stamp, hashlib.file_digest(file, "sha256").hexdigest()]
            self.known[key] = record
        return record[2]

    def save(self) -> None:
        """Write what is known, with what another process has written meanwhile."""
        known = self._read() | self.known
        write_atomically(self.path, lambda file: file.write(json.dumps(known).encode()))

    def _read(self) -> dict[str, list]:
        return json.loads(self.path.read_text()) if self.path.is_file() else {}


def _spec_digest(spec: InputSpec) -> str:
    record = json.dumps([preprocessing_digest(), spec_to_dict(spec)], sort_keys=True)
    return hashlib.sha256(record.encode()).hexdigest()[:12]


def write_atomically(path: Path, write) -> None:
    """Put what `write(file)` writes at `path` at once or, when interrupted, not at all."""
    partial = path.with_name(f".{path.name}.{os.getpid()}-{threading.get_ident()}")
    with partial.open("wb") as file:
        write(file)
    partial.replace(path)


def _report(refused: Sequence[tuple[Clip, str]], n_clips: int, folder: Path) -> None:
    """Name what was left out, and why."""
    if not refused:
        return
    lines = [f"{code}: {clip.path}" for clip, code in refused]
    (folder / REFUSED_FILE).write_text("\n".join(lines) + "\n", encoding="utf-8")
    for line in lines[:N_NAMED]:
        tqdm.write(f"left out, {line}")
    counts = ", ".join(f"{count} {code}" for code, count in Counter(code for _, code in refused).most_common())
    more = f"; all are named in {folder / REFUSED_FILE}" if len(refused) > N_NAMED else ""
    tqdm.write(f"left out {len(refused)} of {n_clips} clips: {counts}{more}")


def compare_contents(clips: Sequence[Clip], digests: Sequence[str]) -> None:
    """Compare the contents of clips by their digests; an empty one is passed over.

    Raises:
        LeakError: the same content lies in two splits.
        DatasetError: the same content carries both labels.
    """
    first: dict[str, Clip] = {}
    for clip, digest in zip(clips, digests, strict=True):
        if not digest:
            continue
        twin = first.setdefault(digest, clip)
        if twin.split != clip.split:
            raise LeakError(f"{twin.path} ({twin.split}) and {clip.path} ({clip.split}) hold the same bytes")
        if twin.label != clip.label:
            raise DatasetError(f"{twin.path} and {clip.path} hold the same bytes but carry different labels")
