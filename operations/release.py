"""`deepdetect-release`: the versions of the running server on the command line; also `python -m operations.release`."""

from __future__ import annotations

import argparse
import json
import os
import sys
from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, dataclass
from typing import Any

from rich.console import Console, Group
from rich.table import Table
from tqdm import tqdm

from client.canary import compare, find_clips
from client.comparison import Comparison, Thresholds
from client.errors import ClientError
from client.management import ServedVersion
from client.padding import unique
from client.retry import ONCE
from operations.canary_tables import tables
from operations.drain import NotDrained
from operations.release_parser import SAMPLE, build_parser
from operations.releases import ReleaseError, Releases
from operations.server import TorchServe

DIGEST_CHARS = 12
NOT_PASSED = 3  # exit status

console = Console()
progress = Console(stderr=True)


@dataclass(frozen=True)
class Result:
    """What a command has to tell: for people, for scripts, and to the shell."""

    text: str | Table | Group
    record: dict[str, Any]
    status: int = 0


def main(argv: Sequence[str] | None = None) -> int:
    """Runs one command; returns the exit status."""
    args = build_parser().parse_args(argv)
    try:
        releases = Releases(TorchServe.at(args.directory, args.config, args.log_dir))
        result = COMMANDS[args.command](releases, args)
    except ClientError as error:
        print(f"deepdetect-release: {error}", file=sys.stderr)
        return 1
    try:
        if args.json:
            print(json.dumps(result.record, ensure_ascii=False), flush=True)
        else:
            console.print(result.text, markup=False, highlight=False, soft_wrap=isinstance(result.text, str))
    except BrokenPipeError:  # such as `| head`; the step itself was done
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
    return result.status


def _list(releases: Releases, args: argparse.Namespace) -> Result:
    management = releases.management
    # All of it in 80 columns; --json has the digests and intervals in full.
    table = Table(
        "model", "version", "", "READY", "queue", "digest", "variant", "test AUC", box=None, padding=(0, 2, 0, 0)
    )
    records, back = [], {}
    for model in [args.model] if args.model else management.models():
        versions, previous = management.versions(model), releases.previous(model)
        if previous:
            back[model] = previous
        for served in versions:
            if served.n_ready:  # a worker tells the manifest
                served = management.describe(model, served.version)
            record = _record(served)
            records.append(record)
            table.add_row(
                model,
                served.version,
                "default" if served.is_default else "previous" if served.version == previous else "",
                f"{served.n_ready} of {served.min_workers}",
                str(served.n_pending),
                record["digest"][:DIGEST_CHARS],
                "\n".join(f"{part} {variant}" for part, variant in record["variants"].items()),
                "\n".join(_auc(measures) for measures in record["measured"].values()),
            )
        if previous and previous not in [served.version for served in versions]:
            table.add_row(model, previous, "previous", "removed", "", "", "", "")
    return Result(table, {"versions": records, "previous": back})


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


def _canary(releases: Releases, args: argparse.Namespace) -> Result:
    try:
        allowed = Thresholds(args.max_disagreement, args.max_slowdown)
    except ValueError as error:
        raise ReleaseError(str(error)) from error
    clips = find_clips(args.clips or [SAMPLE], args.max_clips)
    old = args.against or releases.management.default(args.model).version
    for version in (old, args.version):
        if not releases.management.get(args.model, version).n_ready:
            raise ReleaseError(f"{args.model} {version} has no READY worker: scale it first")
    if old == args.version:
        raise ReleaseError(f"{args.model} {old} is the default itself: name another version with --against")
    client = releases.server.http_client(retry=ONCE)
    for version in (old, args.version):  # the first file pays for what is loaded late; it is not counted
        client.predict(args.model, unique(clips[0].read_bytes()), version=version)
    pairs = compare(client, args.model, old, args.version, clips, n_repeats=args.repeats)
    total = len(clips) * args.repeats
    comparison = Comparison(
        old, args.version, list(tqdm(pairs, total=total, unit="pair", file=sys.stderr, disable=None))
    )
    exceeded = comparison.exceeded(allowed)
    verdict = f"{args.model} {args.version} " + (f"does not pass: {'; '.join(exceeded)}" if exceeded else "passes")
    if args.promote and not exceeded and not releases.management.get(args.model, args.version).is_default:
        left = releases.promote(args.model, args.version)
        verdict += f" and is the default now, before it was {left}"
    record = comparison.to_dict() | {"model": args.model, "passed": not exceeded, "exceeded": exceeded}
    return Result(Group(*tables(comparison), verdict), record, NOT_PASSED if exceeded else 0)


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
    splits = {part: artifact.get("figures", {}).get("splits", {}) for part, artifact in artifacts.items()}
    tested = {part: by_split.get("test", {}) for part, by_split in splits.items()}
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
        "measured": {part: tested[part].get(variants.get(part, ""), {}).get("measures", {}) for part in artifacts},
    }


def _auc(measures: Mapping[str, Any]) -> str:
    """`0.711`; nothing where it was not measured."""
    return f"{measures['auc']['value']:.3f}" if "auc" in measures else ""


COMMANDS: Mapping[str, Callable[[Releases, argparse.Namespace], Result]] = {
    "list": _list,
    "register": _register,
    "scale": _scale,
    "set-default": _set_default,
    "canary": _canary,
    "promote": _promote,
    "roll-back": _roll_back,
    "unregister": _unregister,
}

if __name__ == "__main__":
    sys.exit(main())
