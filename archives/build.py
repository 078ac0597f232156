"""Builds the archives that archives/manifest.json declares, the same bytes from anywhere.

    python -m archives.build                  every archive, from build/artifacts/
    python -m archives.build ensemble         one of them
    python -m archives.build ensemble --version 2.0    archives/ensemble-2.0.mar, to be served beside 1.0
    python -m archives.build --tier light     of the light models: smaller and quicker, and worth a little less
    python -m archives.build --tier accurate  of the best models, whatever they cost
    python -m archives.build --output DIR --artifacts DIR

An archive is self-contained: the packages `model_defs` and `handlers` as they
are in the source tree, the artifacts, the model configuration, a shim that
TorchServe takes for the handler, and `deepdetect.json`, which says what it was
made of, and what `make evaluate` found those weights to be worth.
"""

from __future__ import annotations

import argparse
import hashlib
import json
import os
import re
import shutil
import subprocess
import sys
import tempfile
import zipfile
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any

import yaml

PROJECT_DIR = Path(__file__).resolve().parent.parent
PACKAGES = ("model_defs", "handlers")
REQUIRED_KEYS = {
    "minWorkers",
    "maxWorkers",
    "batchSize",
    "maxBatchDelay",
    "responseTimeout",
    "startupTimeout",
    "handler",
}
OPTIONAL_KEYS = {"maxRetryTimeoutInSec", "jobQueueSize", "deviceType", "deviceIds"}
# What an artifact's own manifest says that a reader of the archive wants to know.
ARTIFACT_KEYS = ("network", "spec", "labels", "calibration", "weights_sha256", "variants", "torch")
TIERS = ("light", "standard", "accurate")
DEFAULT_TIER = "standard"
EPOCH = (1980, 1, 1, 0, 0, 0)  # the earliest time that a zip entry can carry

SHIM = '''"""The handler that TorchServe loads; it takes only a class that this very file defines."""

from {module} import {name} as _{name}


class {name}(_{name}):
    pass
'''


class BuildError(ValueError):
    """An archive cannot be built; the message says what to mend."""


def build_archive(
    name: str,
    declaration: dict[str, Any],
    version: str,
    output: Path,
    artifacts: Path,
    root: Path = PROJECT_DIR,
    *,
    tier: str = DEFAULT_TIER,
) -> Path:
    """Builds one archive.

    Args:
        name: model name; the file is `<output>/<name>.mar`.
        declaration: its entry in archives/manifest.json.
        version: model version.
        output: directory to write to.
        artifacts: directory with one artifact directory for each modality.
        root: the source tree to take packages and configuration from.
        tier: one of `TIERS`; see `tier_directory`.

    Raises:
        BuildError: an artifact is missing, or the model configuration is wrong.
    """
    config = root / declaration["config"]
    check_model_config(config)
    with tempfile.TemporaryDirectory(prefix="deepdetect-") as temporary:
        stage, packed = Path(temporary, "stage"), Path(temporary, "packed")
        packed.mkdir()
        _stage_packages(root, stage)
        record: dict[str, Any] = {"name": name, "version": version, "artifacts": {}}
        for modality in declaration["artifacts"]:
            manifest = _stage_artifact(tier_directory(artifacts, modality, tier), stage / "artifacts" / modality)
            said = {key: manifest[key] for key in ARTIFACT_KEYS if key in manifest}
            record["artifacts"][modality] = said | {"figures": _figures(root, modality, manifest)}
        if fused := _fused_figures(root, record["artifacts"]):
            record["figures"] = fused
        record["source_digest"] = tree_digest(stage, PACKAGES)
        record["digest"] = _digest([record["source_digest"], tree_digest(stage, ["artifacts"]), config.read_text()])
        (stage / "deepdetect.json").write_text(json.dumps(record, indent=2, sort_keys=True) + "\n")
        shim = Path(temporary, f"serve_{name}.py")
        module, handler = declaration["handler"].split(":")
        shim.write_text(SHIM.format(module=module, name=handler))
        _run_archiver(name, version, shim, config, stage, packed)
        output.mkdir(parents=True, exist_ok=True)
        return _normalise(packed / f"{name}.mar", output / f"{name}.mar")


def build_release(
    name: str,
    declaration: dict[str, Any],
    version: str,
    output: Path,
    artifacts: Path,
    root: Path = PROJECT_DIR,
    *,
    tier: str = DEFAULT_TIER,
) -> Path:
    """Builds `<output>/<name>-<version>.mar`, which lies beside other versions of the model in one store.

    Raises:
        BuildError: as `build_archive`; or TorchServe would confuse the version with another, or that version has
            been built before with other contents.
    """
    check_version(version)
    output.mkdir(parents=True, exist_ok=True)
    target = output / f"{name}-{version}.mar"
    with tempfile.TemporaryDirectory(dir=output, prefix=".release-") as temporary:
        built = build_archive(name, declaration, version, Path(temporary), artifacts, root, tier=tier)
        if target.exists() and _sha256(target) != _sha256(built):
            remedy = "Give the new contents a new version; or delete that file, if it was never served"
            raise BuildError(f"{target} was made of other code, weights or configuration. {remedy}")
        return built.replace(target)


def tier_directory(artifacts: Path, modality: str, tier: str) -> Path:
    """Where the artifact of a tier lies: `<modality>` for standard, else `<modality>-<tier>`.

    A modality whose best model is its standard one has no accurate one besides.
    """
    own = artifacts / (modality if tier == DEFAULT_TIER else f"{modality}-{tier}")
    return artifacts / modality if tier == "accurate" and not own.is_dir() else own


def check_version(version: str) -> None:
    """Refuses a version that TorchServe, which compares versions as decimal numbers, would take for another.

    Raises:
        BuildError: it is not written as such a number, the shortest way.
    """
    if not re.fullmatch(r"[0-9]{1,9}\.[0-9]{1,6}", version) or float(version) <= 0:
        raise BuildError(f"version {version!r} is not a decimal number above 0, such as 2.0 or 2.1")
    if str(float(version)) != version:
        raise BuildError(f"TorchServe reads version {version} as the number {float(version)}; name it so, or otherwise")


def check_model_config(path: Path) -> None:
    """Refuses what TorchServe would ignore without a word.

    Raises:
        BuildError: a key is missing or unknown.
    """
    keys = set(yaml.safe_load(path.read_text()))
    if missing := REQUIRED_KEYS - keys:
        raise BuildError(f"{path}: {sorted(missing)} must be set, or TorchServe picks values of its own")
    if unknown := keys - REQUIRED_KEYS - OPTIONAL_KEYS:
        raise BuildError(f"{path}: unknown keys {sorted(unknown)}; allowed: {sorted(REQUIRED_KEYS | OPTIONAL_KEYS)}")


def tree_digest(root: Path, parts: Iterable[str]) -> str:
    """SHA-256 over the relative paths and contents of all files below `root/part`."""
    files = sorted(path for part in parts for path in (root / part).rglob("*") if path.is_file())
    return _digest(text for path in files for text in (path.relative_to(root).as_posix(), _sha256(path)))


def _stage_packages(root: Path, stage: Path) -> None:
    for package in PACKAGES:
        shutil.copytree(root / package, stage / package, ignore=shutil.ignore_patterns("__pycache__", "*.pyc"))


def _stage_artifact(source: Path, destination: Path) -> dict[str, Any]:
    """Copies the artifact; returns its manifest."""
    try:
        manifest = json.loads((source / "manifest.json").read_text())
    except FileNotFoundError:
        remedy = "`make artifacts` exports it, with TIER=light or accurate those"
        raise BuildError(f"there is no artifact in {source}; {remedy}") from None
    destination.mkdir(parents=True)
    shutil.copy(source / "manifest.json", destination)
    for variant, entry in manifest["variants"].items():
        shutil.copy(source / entry["file"], destination)
        if (found := _sha256(destination / entry["file"])) != entry["sha256"]:
            raise BuildError(f"{source / entry['file']} ({variant}) has digest {found}, not that of its manifest")
    return manifest


def _figures(root: Path, modality: str, manifest: Mapping[str, Any]) -> dict[str, Any]:
    """What the model is worth: {"of", "date", "splits": {split: {variant: {"measures": ...}}}}.

    Of the exported files, from weights/report.json. Where that is of other weights: of the networks, as measured when
    they were published, without a date.
    """
    path = root / "weights" / "report.json"
    report = json.loads(path.read_text()) if path.exists() else {"modalities": {}}
    part = report["modalities"].get(modality, {"weights_sha256": {}})
    mine = [name for name, digest in part["weights_sha256"].items() if digest == manifest["weights_sha256"]]
    if mine:
        variants = {name: name.removeprefix(f"{modality} ") for name in mine}
        splits = {
            split: {variant: one["models"][name] for name, variant in variants.items()}
            for split, one in part["splits"].items()
        }
        return {"of": "exported files", "date": report["machine"]["date"], "splits": splits}
    splits = {
        split: {variant: {"measures": measures} for variant, measures in variants.items()}
        for split, variants in manifest.get("metrics", {}).items()
    }
    return {"of": "networks when published", "date": None, "splits": splits}


def _fused_figures(root: Path, artifacts: Mapping[str, Mapping[str, Any]]) -> dict[str, Any]:
    """What the fused verdict is worth: {"date", "splits": {split: {"measures": ...}}}.

    {} where the report is of other weights, or of one modality.
    """
    path = root / "weights" / "report.json"
    report = json.loads(path.read_text()) if path.exists() else {}
    fused = report.get("ensemble", {"variants": {}})
    digests = {
        modality: report["modalities"][modality]["weights_sha256"].get(name)
        for modality, name in fused["variants"].items()
    }
    if len(artifacts) < 2 or digests != {modality: one["weights_sha256"] for modality, one in artifacts.items()}:
        return {}
    splits = {split: rows["ensemble"] for split, rows in fused["splits"].items()}
    return {"date": report["machine"]["date"], "splits": splits}


def _run_archiver(name: str, version: str, shim: Path, config: Path, stage: Path, output: Path) -> None:
    options = {
        "--model-name": name,
        "--version": version,
        "--handler": shim,
        "--config-file": config,
        "--extra-files": stage,
        "--export-path": output,
        "--archive-format": "zip-store",
    }
    arguments = [str(part) for option in options.items() for part in option]
    command = [sys.executable, "-m", "model_archiver.model_packaging", *arguments]
    # The archiver starts by deleting $TMPDIR/<model name>, so it gets a directory of its own.
    done = subprocess.run(command, env=os.environ | {"TMPDIR": str(output)}, capture_output=True, text=True)
    if done.returncode:
        raise BuildError(f"torch-model-archiver failed for {name}:\n{done.stderr}")


def _normalise(source: Path, destination: Path) -> Path:
    """Rewrites the zip in sorted order, without times, so that equal content gives equal bytes.

    Entries are stored, not deflated: weights hardly shrink, and deflate differs between zlib builds.
    """
    partial = destination.with_suffix(".partial")
    with zipfile.ZipFile(source) as packed, zipfile.ZipFile(partial, "w", zipfile.ZIP_STORED) as archive:
        for entry in sorted(packed.infolist(), key=lambda entry: entry.filename):
            content = packed.read(entry)
            if entry.filename == "MAR-INF/MANIFEST.json":
                content = json.dumps(json.loads(content) | {"createdOn": "01/01/1980 00:00:00"}, indent=2).encode()
            info = zipfile.ZipInfo(entry.filename, EPOCH)
            info.external_attr = 0o644 << 16
            archive.writestr(info, content)
    return partial.replace(destination)


def _sha256(path: Path) -> str:
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def _digest(texts: Iterable[str]) -> str:
    return hashlib.sha256("\0".join(texts).encode()).hexdigest()


def main(argv: Sequence[str] | None = None) -> int:
    """Builds the archives asked for; returns the exit status."""
    parser = argparse.ArgumentParser(prog="python -m archives.build", description="Build the TorchServe archives.")
    parser.add_argument("names", nargs="*", metavar="NAME", help="archives to build (default: all declared)")
    parser.add_argument("--version", help="build NAME-VERSION.mar with this version (default: NAME.mar, as declared)")
    parser.add_argument("--tier", choices=TIERS, default=DEFAULT_TIER, help="of models; default: %(default)s")
    parser.add_argument("--output", type=Path, default=PROJECT_DIR / "archives", help="directory for the .mar files")
    parser.add_argument("--artifacts", type=Path, default=PROJECT_DIR / "build" / "artifacts", help="exported models")
    args = parser.parse_args(argv)
    declared = json.loads((PROJECT_DIR / "archives" / "manifest.json").read_text())
    for name in args.names or declared["archives"]:
        if name not in declared["archives"]:
            parser.error(f"archive {name!r} is not declared; declared: {', '.join(declared['archives'])}")
        try:
            build = build_release if args.version else build_archive
            version = args.version or declared["version"]
            path = build(name, declared["archives"][name], version, args.output, args.artifacts, tier=args.tier)
        except BuildError as error:
            print(f"archives.build: {error}", file=sys.stderr)
            return 1
        print(f"{path}  {path.stat().st_size / 2**20:.1f} MiB")
    return 0


if __name__ == "__main__":
    sys.exit(main())
