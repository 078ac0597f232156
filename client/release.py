"""`deepdetect-release`: the versions of the running server on the command line; also `python -m client.release`."""

from __future__ import annotations

import argparse
import json
import sys
from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from rich.console import Console
from rich.table import Table

from client.drain import NotDrained
from client.errors import ClientError
from client.management import ServedVersion
from client.releases import Releases
from client.server import TorchServe
from client.settings import PROJECT_DIR

SAMPLE = PROJECT_DIR / "build" / "sample.mp4"
DRAIN_TIMEOUT_S = 120.0
DIGEST_CHARS = 12

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

console = Console()
progress = Console(stderr=True)


@dataclass(frozen=True)
class Result:
    """What a command has to tell: for people, for scripts, and to the shell."""

    text: str | Table
    record: dict[str, Any]
    status: int = 0


def main(argv: Sequence[str] | None = None) -> int:
    """Runs one command; returns the exit status."""
    args = _parser().parse_args(argv)
    try:
        releases = Releases(TorchServe.at(args.directory, args.config, args.log_dir))
        result = args.run(releases, args)
    except ClientError as error:
        print(f"deepdetect-release: {error}", file=sys.stderr)
        return 1
    if args.json:
        print(json.dumps(result.record, ensure_ascii=False))
    else:
        console.print(result.text, markup=False, highlight=False, soft_wrap=isinstance(result.text, str))
    return result.status


def _parser() -> argparse.ArgumentParser:
    form = argparse.RawDescriptionHelpFormatter
    parser = argparse.ArgumentParser("deepdetect-release", description=DESCRIPTION, epilog=EPILOG, formatter_class=form)
    shared = argparse.ArgumentParser(add_help=False)
    shared.add_argument("--directory", type=Path, metavar="DIR", help="where the server was started (this project)")
    shared.add_argument("--config", type=Path, metavar="FILE", help="config.properties of the server (the project's)")
    shared.add_argument("--log-dir", type=Path, metavar="DIR", help="where the server logs (as env.sh says)")
    shared.add_argument("--json", action="store_true", help="print one JSON object, for scripts")
    commands = parser.add_subparsers(required=True, metavar="COMMAND")

    def add(name: str, run: Callable, summary: str, *examples: str) -> argparse.ArgumentParser:
        shown = "example:\n" + "\n".join(f"  deepdetect-release {example}" for example in examples)
        command = commands.add_parser(
            name, parents=[shared], help=summary, description=summary, epilog=shown, formatter_class=form
        )
        command.set_defaults(run=run)
        return command

    command = add("list", _list, "show what is served: versions, workers, digests, accuracy", "list", "list audio")
    command.add_argument("model", nargs="?", metavar="MODEL", help="one model (default: all)")

    command = add(
        "register",
        _register,
        "register an archive beside the versions that are served: wait for its workers, compare what they tell with "
        "the archive's manifest, and have a first file judged. What fails is removed again.",
        "register ensemble-2.0.mar",
        "register ensemble-2.0.mar --workers 2 --promote",
    )
    command.add_argument("archive", metavar="ARCHIVE", help="file in the model store, such as ensemble-2.0.mar")
    command.add_argument("--workers", type=_count, metavar="N", help="instead of minWorkers of its configuration")
    command.add_argument("--promote", action="store_true", help="make it the default at once")
    _add_clip(command)

    command = add(
        "scale",
        _scale,
        "give a version N workers, and wait for them. Workers that go lose the batch they are at: scale down a "
        "version that nobody asks for.",
        "scale ensemble 2.0 2",
    )
    _add_version(command)
    command.add_argument("workers", type=_count, metavar="N", help="number of workers; 0 keeps it registered, unserved")

    command = add(
        "set-default",
        _set_default,
        "send requests without a version to this one, until the server restarts; promote also remembers it.",
        "set-default ensemble 2.0",
    )
    _add_version(command)

    command = add(
        "promote",
        _promote,
        "make a version the default, now and after a restart by `make serve`; the old one stays ready to roll back to.",
        "promote ensemble 2.0",
        "promote ensemble 2.0 --remove-old",
    )
    _add_version(command)
    command.add_argument("--remove-old", action="store_true", help="unregister the old one when it has nothing to do")
    _add_drain(command)

    command = add(
        "roll-back",
        _roll_back,
        "make the previous default the default again; it is registered again if it was removed.",
        "roll-back ensemble",
    )
    command.add_argument("model", metavar="MODEL", help="video, audio or ensemble")
    _add_clip(command)

    command = add(
        "unregister",
        _unregister,
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
    command.add_argument("--clip", type=Path, default=SAMPLE, help="file that a new version judges first (%(default)s)")


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


def _list(releases: Releases, args: argparse.Namespace) -> Result:
    management = releases.management
    table = Table("model", "version", "default", "workers", "queue", "variant", "digest", "measured on the test split")
    records = []
    for model in [args.model] if args.model else management.models():
        previous = releases.previous(model)
        for served in management.versions(model):
            if served.n_ready:  # a worker tells the manifest
                served = management.describe(model, served.version)
            record = _record(served) | {"is_previous": served.version == previous}
            records.append(record)
            table.add_row(
                model,
                served.version,
                "default" if served.is_default else "previous" if record["is_previous"] else "",
                f"{served.n_ready} of {served.min_workers} READY",
                str(served.n_pending),
                "\n".join(f"{part} {variant}" for part, variant in record["variants"].items()),
                record["digest"][:DIGEST_CHARS],
                "\n".join(_figures(record["measured"])),
            )
    return Result(table, {"versions": records})


def _register(releases: Releases, args: argparse.Namespace) -> Result:
    with progress.status(f"registering {args.archive}: its workers start"):
        warmed = releases.register(args.archive, args.clip, args.workers)
    served, body = warmed.served, warmed.reply.body
    first = {"file": args.clip.name, "prediction": body["prediction"], "p_fake": body["probabilities"]["fake"]}
    first["latency_s"] = round(warmed.latency_s, 4)
    name = f"{served.model} {served.version}"
    lines = [
        f"{name} {'was' if warmed.was_there else 'is'} registered: {served.n_ready} of {served.min_workers} workers "
        f"READY, digest {served.manifest['digest'][:DIGEST_CHARS]} as in {served.archive}",
        f"{first['file']}: {first['prediction']}, p_fake {first['p_fake']:.4f}, {1_000 * warmed.latency_s:.0f} ms",
    ]
    default = releases.management.default(served.model).version
    if args.promote and default != served.version:
        releases.promote(served.model, served.version)
        lines.append(f"{name} is the default now; {default} stays: deepdetect-release roll-back {served.model}")
    elif default != served.version:
        lines.append(f"the default is still {default}: deepdetect-release promote {name}")
    default = releases.management.default(served.model).version
    return Result("\n".join(lines), _record(served) | {"is_default": default == served.version, "first": first})


def _scale(releases: Releases, args: argparse.Namespace) -> Result:
    with progress.status(f"scaling {args.model} {args.version} to {args.workers} workers"):
        releases.management.scale(args.model, args.version, args.workers)
    served = releases.management.get(args.model, args.version)
    return Result(f"{args.model} {args.version} has {served.n_ready} workers READY", _record(served))


def _set_default(releases: Releases, args: argparse.Namespace) -> Result:
    releases.management.set_default(args.model, args.version)
    text = f"{args.model} {args.version} is the default until the server restarts"
    return Result(text, {"model": args.model, "default": args.version})


def _promote(releases: Releases, args: argparse.Namespace) -> Result:
    old = releases.promote(args.model, args.version)
    text = f"{args.model} {args.version} is the default now"
    if args.remove_old:
        with progress.status(f"waiting until {args.model} {old} has nothing to do"):
            try:
                releases.remove(args.model, old, args.drain_timeout_s)
            except NotDrained as error:
                raise NotDrained(f"{text}, but {old} was not removed: {error}") from error
    fate = "had nothing left to do and is removed" if args.remove_old else "stays registered"
    text += f"; {old} {fate}. Back to it: deepdetect-release roll-back {args.model}"
    return Result(text, {"model": args.model, "default": args.version, "previous": old, "removed": args.remove_old})


def _roll_back(releases: Releases, args: argparse.Namespace) -> Result:
    with progress.status(f"rolling back {args.model}"):
        left, now = releases.roll_back(args.model, args.clip)
    text = f"{args.model} {now} is the default again; {left} stays registered"
    return Result(text, {"model": args.model, "default": now, "left": left})


def _unregister(releases: Releases, args: argparse.Namespace) -> Result:
    with progress.status(f"waiting until {args.model} {args.version} has nothing to do"):
        releases.remove(args.model, args.version, args.drain_timeout_s)
    text = f"{args.model} {args.version} is removed; its archive stays in the model store"
    return Result(text, {"model": args.model, "removed": args.version})


def _record(served: ServedVersion) -> dict[str, Any]:
    """What --json tells of a version."""
    manifest = served.manifest or {}
    artifacts = manifest.get("artifacts", {})
    variants = manifest.get("worker", {}).get("variants", {})
    metrics = {part: artifact.get("metrics", {}).get("test", {}) for part, artifact in artifacts.items()}
    return {
        "model": served.model,
        "version": served.version,
        "archive": served.archive,
        "is_default": served.is_default,
        "workers": [asdict(worker) for worker in served.workers],
        "n_ready": served.n_ready,
        "n_pending": served.n_pending,
        "digest": manifest.get("digest", ""),
        "source_digest": manifest.get("source_digest", ""),
        "weights_sha256": {part: artifact.get("weights_sha256", "") for part, artifact in artifacts.items()},
        "variants": variants,
        "measured": {part: metrics[part].get(variants.get(part, ""), {}) for part in artifacts},
    }


def _figures(measured: Mapping[str, Mapping[str, Any]]) -> list[str]:
    """`audio: AUC 0.711 [0.623, 0.802], EER 0.386 [0.278, 0.459]` for each part that was measured."""
    lines = []
    for part, metrics in measured.items():
        shown = [
            f"{label} {metrics[key]['value']:.3f} [{metrics[key]['low']:.3f}, {metrics[key]['high']:.3f}]"
            for label, key in (("AUC", "auc"), ("EER", "eer"))
            if key in metrics
        ]
        lines += [f"{part}: {', '.join(shown)}"] if shown else []
    return lines


if __name__ == "__main__":
    sys.exit(main())
