"""`deepdetect`: the local detector on the command line."""

from __future__ import annotations

import argparse
import json
import os
import sys
from collections.abc import Sequence
from importlib.metadata import version
from pathlib import Path
from types import ModuleType
from typing import TYPE_CHECKING, Any

from rich.console import Console
from rich.table import Table
from tqdm import tqdm

from deepdetect.detect_options import add_detect_options, add_model_options, detect_options
from deepdetect.live import command as live
from deepdetect.screening import command as screening
from model_defs.errors import DetectionError, ModelLoadError

if TYPE_CHECKING:
    from deepdetect.detector import DeepfakeDetector

EPILOG = """\
examples:
  deepdetect detect clip.mp4                     judge picture and sound, print a table
  deepdetect detect *.mp4 *.wav --json           one JSON object a line, as the server answers
  deepdetect detect talk.mp4 --modality audio    judge the sound alone
  deepdetect detect clip.mp4 --explain why/      also say which frames, parts of the face and moments it rests on
  deepdetect screen uploads/ --output screened/  judge a back catalogue; `deepdetect screen --help` tells more
  deepdetect watch rtsp://127.0.0.1:8554/camera  a score each second, and alarms
  deepdetect info                                what is installed, and how well it was measured

exit status: 0 every file was judged, 1 at least one was refused, 2 wrong usage, 141 nobody reads the output any more
"""
CLOSED_PIPE = 141  # as the shell reports a program that SIGPIPE ended


class _Console(Console):
    def on_broken_pipe(self) -> None:
        raise BrokenPipeError  # rich would end the program with status 1, which says that a file was refused


def main(argv: Sequence[str] | None = None) -> int:
    """Runs one command; returns the exit status."""
    args = _parser().parse_args(argv)
    try:
        status = args.run(args)
        sys.stdout.flush()
    except (DetectionError, ModelLoadError) as error:
        print(f"deepdetect: {error}", file=sys.stderr)
        return 2
    except BrokenPipeError:  # such as `| head`, which has read enough
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())  # or Python's own flush at the end complains
        return CLOSED_PIPE
    return status


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="deepdetect",
        description="Tells real video and speech from synthetic.",
        epilog=EPILOG,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument("--version", action="version", version=f"deepdetect {version('deepdetect')}")
    commands = parser.add_subparsers(required=True, metavar="COMMAND")

    detect = commands.add_parser("detect", help="judge files", epilog=EPILOG, formatter_class=parser.formatter_class)
    detect.add_argument("files", nargs="+", type=Path, metavar="FILE", help="video or audio file")
    detect.add_argument("--json", action="store_true", help="print one JSON object a line instead of a table")
    add_detect_options(detect)
    detect.add_argument(
        "--explain", type=Path, metavar="DIR", help="write heatmaps and scores over time to DIR as PNG, and print them"
    )
    add_model_options(detect)
    detect.set_defaults(run=_detect)

    screen = _add_command(
        commands, "screen", screening, "judge a back catalogue, resumably, on this machine or with Ray"
    )
    add_detect_options(screen)
    add_model_options(screen)

    watch = _add_command(commands, "watch", live, "watch a camera, a stream or a growing file, with alarms")
    add_model_options(watch)

    info = commands.add_parser("info", help="print the models, their precision and their measured accuracy as JSON")
    add_model_options(info)
    info.set_defaults(run=_info)
    return parser


def _add_command(commands: Any, name: str, module: ModuleType, about: str) -> argparse.ArgumentParser:
    """A command that a module of its own describes, and gives options and an end."""
    parser: argparse.ArgumentParser = commands.add_parser(
        name,
        help=about,
        description=module.DESCRIPTION,
        epilog=module.EPILOG,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    module.add_arguments(parser)
    return parser


def _detector(args: argparse.Namespace) -> DeepfakeDetector:
    from deepdetect.detector import DeepfakeDetector  # torch takes seconds to import; --help need not wait

    return DeepfakeDetector(args.video_model, args.audio_model, args.device, args.quantization)


def _detect(args: argparse.Namespace) -> int:
    options = detect_options(args)
    if args.explain:
        options["explain"] = True
    answers = []
    each = _detector(args).detect_each(args.files, **options)
    for answer in tqdm(each, total=len(args.files), unit="file", file=sys.stderr, disable=None):
        answers.append(answer)
        if args.json:
            print(json.dumps(answer, ensure_ascii=not _writes_unicode()), flush=True)
    if args.explain:
        _write_explanations([answer for answer in answers if "explanation" in answer], args)
    if not args.json:
        _print_table(answers)
    return int(any("error" in answer for answer in answers))


def _write_explanations(answers: Sequence[dict[str, Any]], args: argparse.Namespace) -> None:
    from deepdetect.explanation_report import score_table, write_report

    for answer in answers:
        written = write_report(answer, args.explain)
        if not args.json:
            table = score_table(answer)
            table.title = _printable(answer["file_name"])
            console = _Console()
            console.print(table)
            for path in written:
                console.print(_printable(str(path)), highlight=False, soft_wrap=True)


def _print_table(answers: Sequence[dict[str, Any]]) -> None:
    """One row a file; refusals and warnings, which are sentences, stand below."""
    table = Table("file", "type", "verdict", "p_fake", "video", "audio", "seconds")
    remarks = []
    for answer in answers:
        name = answer["file_name"]
        if "error" in answer:
            error = answer["error"]
            cells = (name, "", "refused", "", "", "", "")
            remarks.append(f"{name}: {error['code']}: {error['message']}")
        else:
            parts = answer["modalities"]
            cells = (
                name,
                answer["file_type"],
                answer["prediction"] + (" (uncertain)" if answer.get("uncertain") else ""),
                f"{answer['probabilities']['fake']:.3f}",
                *(_score_of(parts, modality) for modality in ("video", "audio")),
                f"{answer['processing_time']:.2f}",
            )
            remarks += [f"{name}: {warning}" for warning in answer["warnings"]]
        table.add_row(*(_printable(cell) for cell in cells))
    console = _Console()
    console.print(table)
    for remark in remarks:
        console.print(_printable(remark), highlight=False)


def _writes_unicode() -> bool:
    return (sys.stdout.encoding or "").lower().replace("-", "") == "utf8"


def _score_of(parts: dict[str, Any], modality: str) -> str:
    """A modality's p_fake; a dash where it was not scored."""
    p_fake = parts.get(modality, {}).get("p_fake")
    return "-" if p_fake is None else f"{p_fake:.3f}"


def _printable(text: str) -> str:
    """The text in characters that the terminal has, none of them a control character, with rich's markup off."""
    encoding = sys.stdout.encoding or "ascii"
    shown = "".join(char if char.isprintable() else "\N{REPLACEMENT CHARACTER}" for char in text)
    return shown.encode(encoding, "replace").decode(encoding).replace("[", r"\[")


def _info(args: argparse.Namespace) -> int:
    print(json.dumps(_detector(args).get_model_info(), indent=2))
    return 0


if __name__ == "__main__":
    sys.exit(main())
