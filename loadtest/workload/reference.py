"""What the answers must be: those of the local detector, which judges the same files without a server.

    python -m loadtest.workload.reference build/loadtest/clips    make the clips, judge them, write reference.json

The detector runs in a process of its own: the load test knows only the wire.
"""

from __future__ import annotations

import argparse
import hashlib
import json
import subprocess
import sys
from collections.abc import Iterable, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from loadtest.measure.results import JUDGED
from loadtest.workload.clips import find_clips, make_clips
from operations.settings import PROJECT_DIR

FILE = "reference.json"
TOLERANCE = 1e-3  # of p_fake: a batch adds up in another order than a single clip
WRONG_ANSWER, WRONG_VERDICT = "wrong answer", "wrong verdict"
OF_THE_SERVER = {"draining", "internal", "decode_timeout"}  # errors that say nothing of the file
# Options of `deepdetect detect` that make it judge as a model of the load test does.
DETECTORS = {
    "video": ("--modality", "video"),
    "audio": ("--modality", "audio"),
    "ensemble": (),
    "video_fp32": ("--modality", "video", "--no-quantization"),
    "audio_fp32": ("--modality", "audio", "--no-quantization"),
    "video_int8": ("--modality", "video", "--quantization"),
    "audio_int8": ("--modality", "audio", "--quantization"),
}


@dataclass(frozen=True)
class Judgement:
    """What one model makes of one file.

    Attributes:
        outcome: `judged`, or its error code.
        prediction, p_fake: of a file that is judged.
    """

    outcome: str
    prediction: str = ""
    p_fake: float = 0.0

    @classmethod
    def of(cls, answer: Mapping[str, Any]) -> Judgement:
        """The part of an answer in the request contract that must be the same wherever it comes from."""
        if "error" in answer:
            return cls(answer["error"]["code"])
        return cls(JUDGED, answer["prediction"], answer["probabilities"]["fake"])

    def outcome_of(self, answer: Mapping[str, Any], tolerance: float = TOLERANCE) -> str:
        """How an answer compares: its own outcome where it agrees, `wrong verdict` where it does not."""
        other = Judgement.of(answer)
        if other.outcome in OF_THE_SERVER:
            return other.outcome
        is_close = other.outcome != JUDGED or abs(other.p_fake - self.p_fake) <= tolerance
        same = (other.outcome, other.prediction) == (self.outcome, self.prediction)
        return other.outcome if same and is_close else WRONG_VERDICT


Reference = Mapping[str, Mapping[str, Judgement]]  # model -> clip -> what it makes of it


def judge_locally(clips: Mapping[str, Path], models: Iterable[str]) -> dict[str, dict[str, Judgement]]:
    """Has the local detector judge the clips as each of the models would.

    Raises:
        RuntimeError: it does not run.
    """

    def judge(model: str) -> dict[str, Judgement]:
        command = [sys.executable, "-m", "deepdetect.cli", "detect", "--json", *DETECTORS[model]]
        done = subprocess.run(
            [*command, *map(str, clips.values())], cwd=PROJECT_DIR, capture_output=True, text=True, check=False
        )
        answers = [json.loads(line) for line in done.stdout.splitlines()]
        if len(answers) != len(clips):
            raise RuntimeError(f"the local detector failed as {model}: {done.stderr[-2_000:]}")
        return {clip: Judgement.of(answer) for clip, answer in zip(clips, answers, strict=True)}

    wanted = list(models)
    with ThreadPoolExecutor(2) as judges:
        return dict(zip(wanted, judges.map(judge, wanted), strict=True))


def reference_of(clips_dir: Path, models: Sequence[str], archives: Iterable[Path]) -> dict[str, dict[str, Judgement]]:
    """The judgements of a directory's clips; computed again only where clips, models or archives are others."""
    clips = find_clips(clips_dir)
    key = _digest([*clips.values(), *archives], models)
    path = clips_dir / FILE
    if path.exists() and json.loads(path.read_text())["key"] == key:
        return read_reference(path)
    judged = judge_locally(clips, models)
    record = {model: {clip: asdict(judgement) for clip, judgement in each.items()} for model, each in judged.items()}
    path.write_text(json.dumps({"key": key, "judgements": record}, indent=1))
    return judged


def read_reference(path: Path) -> dict[str, dict[str, Judgement]]:
    """What `reference_of` has written."""
    record = json.loads(path.read_text())["judgements"]
    return {model: {clip: Judgement(**entry) for clip, entry in each.items()} for model, each in record.items()}


def _digest(paths: Iterable[Path], models: Iterable[str]) -> str:
    found = hashlib.sha256(",".join(sorted(models)).encode())
    for path in sorted(paths):
        found.update(path.name.encode())
        found.update(hashlib.sha256(path.read_bytes()).digest())
    return found.hexdigest()


def main(argv: Sequence[str] | None = None) -> int:
    """Runs the command; returns the exit status."""
    parser = argparse.ArgumentParser(
        prog="python -m loadtest.workload.reference", description=__doc__.partition("\n")[0]
    )
    parser.add_argument("directory", type=Path, metavar="DIR", help="where the clips are, or will be")
    directory = parser.parse_args(argv).directory
    make_clips(directory)
    archives = [path for path in (PROJECT_DIR / "archives").glob("*.mar") if path.stem in DETECTORS]
    for model, judged in reference_of(directory, list(DETECTORS), archives).items():
        for clip, judgement in judged.items():
            found = f"{judgement.prediction} {judgement.p_fake:.4f}" if judgement.prediction else judgement.outcome
            print(f"{model:12} {clip:10} {found}")
    return 0


if __name__ == "__main__":
    sys.exit(main())
