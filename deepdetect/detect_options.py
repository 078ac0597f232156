"""The command line's options of a detection and of the models, shared by every command that judges."""

from __future__ import annotations

import argparse
from pathlib import Path
from typing import Any

from model_defs.inference.options import MODALITIES

_VALUES = ("frames", "interval_s", "threshold", "uncertain_band")


def add_detect_options(parser: argparse.ArgumentParser) -> None:
    """What is asked of each file; `detect_options` reads it back."""
    parser.add_argument("--modality", choices=MODALITIES, default="auto", help="which track to judge (default: auto)")
    parser.add_argument("--frames", metavar="N", help="frames sampled evenly over the clip")
    parser.add_argument("--interval-s", metavar="S", help="instead: one frame each S seconds")
    parser.add_argument("--threshold", metavar="P", help="p_fake from which the verdict is Fake")
    parser.add_argument("--uncertain-band", metavar="B", help="mark verdicts whose p_fake is within B of the threshold")
    parser.add_argument("--allow-no-face", action="store_true", help="score video in which no face is found")


def add_model_options(parser: argparse.ArgumentParser) -> None:
    """Which models judge, and where."""
    parser.add_argument("--device", help="cpu, cuda or cuda:N (default: cuda where there is one)")
    parser.add_argument("--video-model", type=Path, metavar="PATH", help="artifact or checkpoint (default: shipped)")
    parser.add_argument("--audio-model", type=Path, metavar="PATH", help="artifact or checkpoint (default: shipped)")
    parser.add_argument(
        "--quantization",
        action=argparse.BooleanOptionalAction,
        help="int8 on CPU or fp16 on CUDA; --no-quantization for fp32 (default: what was measured best)",
    )


def detect_options(args: argparse.Namespace) -> dict[str, Any]:
    """The options that were given, as `DetectOptions.parse` takes them."""
    given = {name: getattr(args, name) for name in _VALUES if getattr(args, name) is not None}
    given["modality"] = args.modality
    if args.allow_no_face:
        given["allow_no_face"] = True
    return given
