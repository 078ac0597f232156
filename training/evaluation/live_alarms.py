"""What the filter of `deepdetect watch` is worth: false alarms on joined real clips, and how soon a switch is found.

    python -m training.evaluation.live_alarms path/to/clips --modality video

Each clip of a split is scored by the second as a stream would be. Streams are then joined from these seconds, many
times in random order: an hour of real clips, and a minute of real ones that turns to fake ones.
"""

from __future__ import annotations

import argparse
import sys
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from tqdm import tqdm

from deepdetect import DeepfakeDetector
from deepdetect.live.cusum import Cusum, CusumConfig
from deepdetect.live.source import LiveSource, SourceError
from deepdetect.live.watch import SecondScorer
from training.data.datasets import load_dataset

REAL_S, SWITCHED_S = 60, 120  # of a stream that turns to fake: before, and after
RATES_AN_HOUR = (0.1, 1.0, 10.0)


@dataclass(frozen=True)
class AlarmRates:
    """Over many joined streams.

    Attributes:
        false_alarms_an_hour: on real seconds alone.
        found_share: of the switches to fake for which an alarm came within `SWITCHED_S`.
        median_s: from the switch to the alarm, of those that were found; nan where none was.
    """

    false_alarms_an_hour: float
    found_share: float
    median_s: float


def measure(
    real: Sequence[Sequence[float]], fake: Sequence[Sequence[float]], config: CusumConfig, n_streams: int, seed: int = 0
) -> AlarmRates:
    """The rates of one setting.

    Args:
        real: p_fake of each second, clip by clip.
        fake: likewise.
        n_streams: hours of real clips, and as many switches.
    """
    rng = np.random.default_rng(seed)
    n_false, delays_s = 0, []
    for _ in range(n_streams):
        cusum = Cusum(config)
        n_false += sum(cusum.update(p_fake) == "alarm" for p_fake in _joined(real, 3_600, rng))
        cusum = Cusum(config)
        for p_fake in _joined(real, REAL_S, rng):
            cusum.update(p_fake)
        if cusum.is_alarmed:
            continue  # a false alarm, counted above
        changes = [cusum.update(p_fake) for p_fake in _joined(fake, SWITCHED_S, rng)]
        delays_s.append(changes.index("alarm") + 1 if "alarm" in changes else np.inf)
    found = [delay_s for delay_s in delays_s if np.isfinite(delay_s)]
    return AlarmRates(
        n_false / n_streams,
        len(found) / len(delays_s) if delays_s else float("nan"),
        float(np.median(found)) if found else float("nan"),
    )


def seconds_of(path: Path, detector: DeepfakeDetector, modality: str) -> list[float]:
    """P(fake) of each second of a clip that has a score; raises SourceError."""
    scorer = SecondScorer(detector.predictors["video"], detector.predictors["audio"])  # type: ignore[arg-type]
    scores = [getattr(scorer.score(second), modality) for second in LiveSource(str(path)).seconds()]
    return [p_fake for p_fake in scores if p_fake is not None]


def _joined(clips: Sequence[Sequence[float]], n_seconds: int, rng: np.random.Generator) -> list[float]:
    seconds: list[float] = []
    while len(seconds) < n_seconds:
        seconds += clips[int(rng.integers(len(clips)))]
    return seconds[:n_seconds]


def main(argv: Sequence[str] | None = None) -> None:
    """The command line."""
    parser = argparse.ArgumentParser(
        prog="python -m training.evaluation.live_alarms",
        description=__doc__,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument("dataset", type=Path, help="folder of labelled clips")
    parser.add_argument("--modality", choices=("video", "audio"), required=True, help="what is scored")
    parser.add_argument("--split", default="val", help="default: %(default)s")
    parser.add_argument("--streams", type=int, default=200, metavar="N", help="joined streams (default: %(default)s)")
    arguments = parser.parse_args(argv)
    clips = [clip for clip in load_dataset(arguments.dataset) if clip.split == arguments.split]
    detector = DeepfakeDetector(use_cache=False)
    by_label: tuple[list[list[float]], list[list[float]]] = ([], [])
    for clip in tqdm(clips, unit="clip", file=sys.stderr, disable=None):
        try:
            scores = seconds_of(clip.path, detector, arguments.modality)
        except SourceError as error:
            tqdm.write(f"left out: {error}", file=sys.stderr)
            continue
        if scores:
            by_label[clip.label].append(scores)
    real, fake = by_label
    if not real or not fake:
        parser.error(
            f"{arguments.split} holds {len(real)} real and {len(fake)} fake clips with a score; one of each is needed, "
            "of a second or more"
        )
    print(f"{arguments.modality}, {arguments.split}: {len(real)} real and {len(fake)} fake clips, ", end="")
    print(f"{sum(map(len, real))} and {sum(map(len, fake))} s; {arguments.streams} joined streams\n")
    print("| false alarms an hour, asked | threshold | found | switches found in 2 min | median s to the alarm |")
    print("| --- | --- | --- | --- | --- |")
    for rate in RATES_AN_HOUR:
        config = CusumConfig(rate)
        rates = measure(real, fake, config, arguments.streams)
        cells = (f"{rate:g}", f"{config.threshold:.1f}", f"{rates.false_alarms_an_hour:.1f}")
        print(f"| {' | '.join(cells)} | {rates.found_share:.0%} | {rates.median_s:.0f} |")


if __name__ == "__main__":
    main()
