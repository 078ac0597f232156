"""`deepdetect screen`: the options, the progress bar and the exit status."""

from __future__ import annotations

import argparse
import sys
import uuid
from collections.abc import Mapping
from contextlib import closing
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any

from tqdm import tqdm

from deepdetect.screening.errors import ScreeningError
from operations.cpu_quota import usable_cores

if TYPE_CHECKING:
    from deepdetect.screening.engines import Engine, Work
    from deepdetect.screening.places import Place
    from deepdetect.screening.run import Outcome, Plan

DESCRIPTION = """\
Judge a back catalogue: every file of the sources, one row each, in Parquet files of --shard-files rows below
PLACE/parts/. A run that was stopped, or killed, goes on when the same command is given again: what has a row is not
judged twice. Files that changed, another model and other options are judged anew.
"""
EPILOG = """\
SOURCE  a file, a folder with all below it, a glob ('clips/**/*.mp4'), @LIST (a file of sources, one a line), or a URL
        of those: s3://bucket/folder, gs://bucket/folder, az://container/folder
PLACE   a folder or such a URL

examples:
  deepdetect screen uploads/ --output screened/
  deepdetect screen 's3://archive/2025/**/*.mp4' --output s3://archive/screened --engine ray --address auto
  deepdetect screen uploads/ --output screened/ --retry-errors     # again what was refused or could not be read
  deepdetect screen @list.txt --output screened/ --limit 1000 --dry-run

what is left at PLACE: parts/*.parquet, _manifest.json (model, options, counts), review.html (the most suspicious)

exit status: 0 every file was judged, 1 at least one was refused, 2 wrong usage, 3 files are without a row: run it again
"""
REFUSED, INCOMPLETE = 1, 3


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """The options of `deepdetect screen`, but for those that choose models."""
    parser.add_argument("sources", nargs="+", metavar="SOURCE", help="what to judge: see below")
    parser.add_argument("--output", required=True, metavar="PLACE", help="folder or URL that rows are written to")
    parser.add_argument("--engine", choices=("local", "ray"), default="local", help="what runs it (default: local)")
    parser.add_argument("--address", help="of a Ray cluster, such as `auto` (default: one is started on this machine)")
    parser.add_argument("--workers", type=_positive, metavar="N", help="shards judged at a time (default: the cores)")
    parser.add_argument("--gpus-a-worker", type=float, default=0.0, metavar="G", help="of a Ray worker (default: 0)")
    parser.add_argument("--shard-files", type=_positive, default=200, metavar="N", help="files a shard (default: 200)")
    parser.add_argument("--retry-errors", action="store_true", help="judge again the files whose row is an error")
    parser.add_argument("--limit", type=_positive, metavar="N", help="take the first N files of the listing only")
    parser.add_argument("--dry-run", action="store_true", help="say what would be judged, and judge nothing")
    parser.set_defaults(run=run)


def run(args: argparse.Namespace) -> int:
    """Runs the command; returns the exit status."""
    try:
        return _run(args)
    except ScreeningError as error:
        print(f"deepdetect screen: {error}", file=sys.stderr)
        return 2
    except OSError as error:
        print(f"deepdetect screen: stopped: {error}; run it again to go on", file=sys.stderr)
        return INCOMPLETE


def _run(args: argparse.Namespace) -> int:
    try:
        from deepdetect.screening import judge, places, report
        from deepdetect.screening.engines import Work
        from deepdetect.screening.run import make_plan, screen
    except ImportError as error:
        raise ScreeningError(f"{error.name} is needed: pip install 'deepdetect[screen]'") from error
    from deepdetect.detect_options import detect_options
    from model_defs.inference.options import DetectOptions

    options: Mapping[str, Any] = detect_options(args)
    DetectOptions.parse(options)  # raises where an option is wrong, before anything is listed
    settings = judge.ModelSettings(_text(args.video_model), _text(args.audio_model), args.device, args.quantization)
    place = places.open_place(args.output)
    listed = places.list_entries(args.sources)[: args.limit]
    digest, text = judge.model_digest(settings), judge.options_text(options)
    plan = make_plan(place, listed, options, text, digest, args.shard_files, retry_errors=args.retry_errors)
    _say(f"{len(listed)} files listed, {len(listed) - len(plan.waiting)} judged before, {len(plan.waiting)} to judge")
    if args.dry_run:
        return 0

    started = datetime.now(UTC)
    work = Work(settings, args.output, uuid.uuid4().hex[:12], plan.attempt)
    outcome = _screened(args, plan, place, work, screen)
    report.write_manifest(place, plan, outcome, work, args.sources, args.engine, started)
    report.write_review(place, outcome)
    return _end(outcome, place)


def _screened(args: argparse.Namespace, plan: Plan, place: Place, work: Work, screen: Any) -> Outcome:
    bar = tqdm(total=len(plan.waiting), unit="file", file=sys.stderr, disable=None)
    engine = _engine(args, work, len(plan.shards))
    with bar, closing(engine):
        outcome: Outcome = screen(plan, place, engine, bar.update)
    return outcome


def _engine(args: argparse.Namespace, work: Work, n_shards: int) -> Engine:
    from deepdetect.screening.engines import LocalEngine, RayEngine

    n_workers = args.workers or max(1, int(usable_cores()))
    if args.engine == "ray":
        return RayEngine(work, n_workers, args.address, args.gpus_a_worker)
    return LocalEngine(work, max(1, min(n_workers, n_shards)))


def _end(outcome: Outcome, place: Place) -> int:
    from deepdetect.screening.report import REVIEW_FILE, summary

    counts = summary(outcome)
    verdicts = ", ".join(f"{count} {name}" for name, count in counts["verdicts"].items()) or "no verdict"
    errors = "".join(f", {count} {code}" for code, count in counts["errors"].items())
    _say(f"{verdicts}{errors}; the most suspicious: {place / REVIEW_FILE}")
    if outcome.missing:
        _say(f"{len(outcome.missing)} files are without a row: run the same command again")
        return INCOMPLETE
    return REFUSED if outcome.n_refused else 0


def _text(path: object) -> str | None:
    return None if path is None else str(path)


def _positive(text: str) -> int:
    value = int(text)
    if value < 1:
        raise argparse.ArgumentTypeError(f"{text} is below 1")
    return value


def _say(text: str) -> None:
    print(text, file=sys.stderr)
