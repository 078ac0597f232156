"""What `deepdetect-release` takes on its command line."""

from __future__ import annotations

import argparse
import re
from pathlib import Path
from textwrap import fill

from client.comparison import Thresholds
from operations.settings import PROJECT_DIR

SAMPLE = PROJECT_DIR / "build" / "sample.mp4"
DRAIN_TIMEOUT_S = 120.0
LINE_CHARS = 100
DESCRIPTION = """\
The versions of a model on the running server. A release goes
  register -> canary -> promote -> (roll-back | unregister the old one)
and `make release VERSION=2.0` builds the archive and registers it.
"""
EPILOG = """\
examples:
  deepdetect-release list                                    what is served, and what would serve after a roll-back
  deepdetect-release register ensemble-2.0.mar               beside 1.0, checked and warmed; 1.0 stays the default
  deepdetect-release canary ensemble 2.0 clips/              both versions on the same files
  deepdetect-release promote ensemble 2.0 --remove-old       2.0 is the default; 1.0 goes when it has nothing to do
  deepdetect-release roll-back ensemble                      1.0 is the default again

exit status: 0 done, 1 refused or failed (the reason is on stderr), 2 wrong usage, 3 the canary did not pass
"""


def build_parser() -> argparse.ArgumentParser:
    """The parser; it sets `command` and what that command takes."""
    form = argparse.RawDescriptionHelpFormatter
    parser = argparse.ArgumentParser("deepdetect-release", description=DESCRIPTION, epilog=EPILOG, formatter_class=form)
    shared = argparse.ArgumentParser(add_help=False)
    shared.add_argument(
        "--directory",
        type=Path,
        metavar="DIR",
        help="where the server was started (found by --config, else the project's)",
    )
    shared.add_argument(
        "--config", type=Path, metavar="FILE", help="config.properties that the server runs with (the project's)"
    )
    shared.add_argument(
        "--log-dir", type=Path, metavar="DIR", help="where the server logs (found by --config, else as env.sh says)"
    )
    shared.add_argument("--json", action="store_true", help="print one JSON object, for scripts")
    commands = parser.add_subparsers(dest="command", required=True, metavar="COMMAND")

    def add(name: str, summary: str, *examples: str) -> argparse.ArgumentParser:
        shown = "example:\n" + "\n".join(f"  deepdetect-release {example}" for example in examples)
        first, *_ = re.split("[:;.] ", summary)
        return commands.add_parser(
            name,
            parents=[shared],
            help=first.rstrip("."),
            description=fill(summary, LINE_CHARS),
            epilog=shown,
            formatter_class=form,
        )

    command = add("list", "show what is served: versions, workers, digests, accuracy", "list", "list audio")
    command.add_argument("model", nargs="?", metavar="MODEL", help="one model (default: all)")

    command = add(
        "register",
        "register an archive beside the versions that are served: wait for its workers, compare what they tell with "
        "the archive's manifest, and have a first file judged. What fails is removed again.",
        "register ensemble-2.0.mar",
        "register ensemble-2.0.mar --workers 2 --promote",
    )
    command.add_argument(
        "archive", metavar="ARCHIVE", help="file in the model store, such as ensemble-2.0.mar, or a path to copy there"
    )
    command.add_argument("--workers", type=_count, metavar="N", help="instead of minWorkers of its configuration")
    command.add_argument("--promote", action="store_true", help="make it the default at once")
    _add_clip(command)

    command = add(
        "scale",
        "give a version N workers, and wait for them. Workers that go lose the batch they are at: scale down a "
        "version that nobody asks for.",
        "scale ensemble 2.0 2",
    )
    _add_version(command)
    command.add_argument("workers", type=_count, metavar="N", help="number of workers; 0 keeps it registered, unserved")

    command = add(
        "set-default",
        "send requests without a version to this one, until the server restarts; promote also remembers it.",
        "set-default ensemble 2.0",
    )
    _add_version(command)

    command = add(
        "canary",
        "have a version and the default judge the same files, in turn and past every cache; print how often they "
        "agree, what each takes, and every disagreement. Status 3 if the version goes past a threshold.",
        "canary ensemble 2.0 clips/",
        "canary audio 2.0 *.wav --repeats 5 --max-disagreement 0.02 --max-slowdown 1.1 --promote",
    )
    _add_version(command)
    command.add_argument("clips", nargs="*", type=Path, metavar="CLIP", help="file or folder (default: the sample)")
    command.add_argument("--against", metavar="VERSION", help="version to compare with (default: the default one)")
    command.add_argument("--repeats", type=_positive, default=1, metavar="N", help="times each file is judged by each")
    command.add_argument(
        "--max-clips", type=_positive, metavar="N", help="take so many, spread over all that are found"
    )
    command.add_argument(
        "--max-disagreement",
        type=float,
        default=Thresholds.max_disagreement,
        metavar="SHARE",
        help="share of other verdicts that passes (%(default)s)",
    )
    command.add_argument(
        "--max-slowdown",
        type=float,
        default=Thresholds.max_slowdown,
        metavar="RATIO",
        help="median latency, as a multiple of the old one, that passes (%(default)s)",
    )
    command.add_argument("--promote", action="store_true", help="make it the default if it passes")

    command = add(
        "promote",
        "make a version the default, now and after a restart by `make serve`; the old one stays ready to roll back to.",
        "promote ensemble 2.0",
        "promote ensemble 2.0 --remove-old",
    )
    _add_version(command)
    command.add_argument("--remove-old", action="store_true", help="unregister the old one when it has nothing to do")
    _add_drain(command)

    command = add(
        "roll-back",
        "make the previous default the default again; it is registered again if it was removed.",
        "roll-back ensemble",
    )
    command.add_argument("model", metavar="MODEL", help="video, audio or ensemble")
    _add_clip(command)

    command = add(
        "unregister",
        "remove a version that is not the default, once nothing of it is in flight; its archive stays in the store.",
        "unregister ensemble 1.0",
    )
    _add_version(command)
    _add_drain(command)
    return parser


def _add_version(command: argparse.ArgumentParser) -> None:
    command.add_argument("model", metavar="MODEL", help="video, audio or ensemble")
    command.add_argument("version", metavar="VERSION", help="such as 2.0")


def _add_clip(command: argparse.ArgumentParser) -> None:
    command.add_argument("--clip", type=Path, default=SAMPLE, help="file that a new version judges first (the sample)")


def _add_drain(command: argparse.ArgumentParser) -> None:
    command.add_argument(
        "--drain-timeout-s",
        type=float,
        default=DRAIN_TIMEOUT_S,
        metavar="S",
        help="how long to wait for requests that are under way (%(default)s)",
    )


def _count(text: str) -> int:
    if not text.isdigit():
        raise argparse.ArgumentTypeError(f"{text!r} is not a whole number from 0")
    return int(text)


def _positive(text: str) -> int:
    if _count(text) < 1:
        raise argparse.ArgumentTypeError(f"{text!r} is not a whole number from 1")
    return int(text)
