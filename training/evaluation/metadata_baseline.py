"""What the files themselves betray: a classifier that is shown neither faces nor speech.

    python -m training.evaluation.metadata_baseline DATASET --modality audio

In a small collection length, loudness, bandwidth, picture size or bit rate often tell the sources apart, and with
them the classes. A detector that does no better than this baseline may have learned nothing else.
"""

from __future__ import annotations

import argparse
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from sklearn.ensemble import RandomForestClassifier
from tqdm import tqdm

from model_defs.decoding.media import Media
from model_defs.errors import DetectionError
from model_defs.preprocessing.audio import frame_rms
from training.data.datasets import Clip, load_dataset, require_both_classes, select
from training.evaluation.metrics import summarize

RATE_HZ = 16_000
N_TREES = 400
_TINY = 1e-9  # keeps silence from having no level in dB


@dataclass(frozen=True)
class BaselineScores:
    """P(fake) of the clips of one split that could be described, (n,), with their labels and groups."""

    p_fake: np.ndarray
    labels: tuple[int, ...]
    groups: tuple[str, ...]


def metadata_scores(
    clips: Sequence[Clip], modality: str, splits: Sequence[str] = ("val",)
) -> dict[str, BaselineScores]:
    """Scores of a random forest on `describe`, fitted on the train split, by split.

    Args:
        clips: of all splits that are needed, train among them.

    Raises:
        DatasetError: the train split lacks one of the classes.
    """
    require_both_classes(select(clips, "train"), "the train split, which the metadata baseline is fitted on,")
    rows: dict[str, list[np.ndarray]] = {}
    kept: dict[str, list[Clip]] = {}
    for clip in tqdm(select(clips, "train", *splits), f"{modality}, metadata", unit="clip", leave=False):
        try:
            row = describe(clip.path, modality)
        except DetectionError:
            continue
        rows.setdefault(clip.split, []).append(row)
        kept.setdefault(clip.split, []).append(clip)
    forest = RandomForestClassifier(N_TREES, min_samples_leaf=3, class_weight="balanced", random_state=0)
    forest.fit(rows["train"], [clip.label for clip in kept["train"]])
    return {
        split: BaselineScores(
            forest.predict_proba(rows[split])[:, 1],
            tuple(clip.label for clip in kept[split]),
            tuple(clip.group for clip in kept[split]),
        )
        for split in splits
    }


def describe(path: Path, modality: str) -> np.ndarray:
    """What is known of a file without looking or listening, (n_values,) float64.

    Raises:
        DetectionError: it cannot be decoded.
    """
    with Media(path) as media:
        if modality == "video":
            media.require_video()
            track, seconds = media.video, media.duration_s or 0.0
            pixels = track.width * track.height
            bits_a_pixel = 8 * path.stat().st_size / (pixels * max(seconds * (track.fps or 25.0), 1.0))
            return np.array([track.width, track.height, track.fps or 0.0, seconds, bits_a_pixel, bool(media.audio)])
        media.require_audio()
        track, seconds = media.audio, media.duration_s or 0.0
        samples = np.concatenate([part.samples for part in media.audio_segments(RATE_HZ, 4.0, 8)])
    return np.array([track.rate_hz, track.channels, seconds, *_sound_statistics(samples.astype(np.float64))])


def _sound_statistics(samples: np.ndarray) -> list[float]:
    """Level, peak, noise floor and dynamic range in dB, offset, leading silence in s, and bandwidth in Hz."""
    loudness_db = 20 * np.log10(frame_rms(samples) + _TINY)
    quiet_db, loud_db = np.percentile(loudness_db, [10, 95])
    spectrum = np.abs(np.fft.rfft(samples)) ** 2
    shares = np.cumsum(spectrum) / (spectrum.sum() + _TINY)
    bandwidths_hz = [float(np.searchsorted(shares, share)) / len(shares) * RATE_HZ / 2 for share in (0.95, 0.999)]
    heard = np.flatnonzero(np.abs(samples) > 0.01 * (np.abs(samples).max() + _TINY))
    leading_s = heard[0] / RATE_HZ if len(heard) else 0.0
    peak_db = 20 * np.log10(np.abs(samples).max() + _TINY)
    return [
        float(np.mean(loudness_db)),
        peak_db,
        quiet_db,
        loud_db - quiet_db,
        samples.mean(),
        leading_s,
        *bandwidths_hz,
    ]


def main(argv: Sequence[str] | None = None) -> None:
    """The command line."""
    parser = argparse.ArgumentParser(
        prog="python -m training.evaluation.metadata_baseline",
        description=__doc__,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument("dataset", type=Path, help="folder with manifest.csv, or with real/ and fake/")
    parser.add_argument("--modality", choices=("video", "audio"), required=True)
    parser.add_argument("--with-test", action="store_true", help="measure the test split too")
    arguments = parser.parse_args(argv)
    splits = ("val", "test") if arguments.with_test else ("val",)
    for split, scores in metadata_scores(load_dataset(arguments.dataset), arguments.modality, splits).items():
        estimates = summarize(scores.labels, scores.p_fake, scores.groups)
        print(f"{split:5} " + "  ".join(f"{name} {value}" for name, value in estimates.items()))


if __name__ == "__main__":
    main()
