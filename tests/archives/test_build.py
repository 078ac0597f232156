"""What is in an archive, and that the same sources give the same bytes."""

from __future__ import annotations

import hashlib
import json
import os
import shutil
import zipfile
from pathlib import Path

import pytest
import yaml

from archives.build import (
    BuildError,
    build_archive,
    build_release,
    check_model_config,
    check_version,
    main,
    tier_directory,
    tree_digest,
)

PROJECT_DIR = Path(__file__).resolve().parents[2]
DECLARED = json.loads((PROJECT_DIR / "archives" / "manifest.json").read_text())


@pytest.fixture
def artifacts(tmp_path: Path) -> Path:
    """Two stand-ins for exported models."""
    for modality in ("video", "audio"):
        directory = tmp_path / "artifacts" / modality
        directory.mkdir(parents=True)
        content = f"weights of {modality}".encode()
        (directory / "fp32.pt").write_bytes(content)
        record = {
            "network": modality,
            "metrics": {"test": {"fp32": {"auc": 0.9}}},
            "calibration": {"temperature": 1.5},
            "spec": {"modality": modality},
            "torch": "2.8.0",
            "weights_sha256": "0" * 64,
            "variants": {"fp32": {"file": "fp32.pt", "sha256": hashlib.sha256(content).hexdigest()}},
        }
        (directory / "manifest.json").write_text(json.dumps(record))
    return tmp_path / "artifacts"


def build(name: str, output: Path, artifacts: Path, root: Path = PROJECT_DIR) -> Path:
    return build_archive(name, DECLARED["archives"][name], DECLARED["version"], output, artifacts, root)


def copy_of_the_sources(root: Path) -> Path:
    for part in ("model_defs", "handlers", "config"):
        shutil.copytree(PROJECT_DIR / part, root / part)
    return root


def test_the_light_models_go_under_the_same_names(tmp_path, artifacts):
    light = shutil.copytree(artifacts / "video", artifacts / "video-light")
    record = json.loads((light / "manifest.json").read_text()) | {"network": "small"}
    (light / "manifest.json").write_text(json.dumps(record))
    options = ["video", "--artifacts", str(artifacts), "--output"]
    for kind in ([], ["--tier", "light"]):
        assert main([*options, str(tmp_path / str(kind)), *kind]) == 0
    with zipfile.ZipFile(tmp_path / "['--tier', 'light']" / "video.mar") as archive:
        members = set(archive.namelist())
        told = json.loads(archive.read("deepdetect.json"))
    with zipfile.ZipFile(tmp_path / "[]" / "video.mar") as archive:
        assert set(archive.namelist()) == members
        assert json.loads(archive.read("deepdetect.json"))["digest"] != told["digest"]
    assert (told["name"], told["artifacts"]["video"]["network"]) == ("video", "small")


def test_a_modality_without_an_accurate_model_gives_its_standard_one(tmp_path, artifacts):
    assert tier_directory(artifacts, "audio", "accurate") == artifacts / "audio"
    own = tmp_path / "audio-accurate"
    own.mkdir()
    assert tier_directory(tmp_path, "audio", "accurate") == own
    assert tier_directory(tmp_path, "audio", "standard") == tmp_path / "audio"


def test_absent_light_models_are_named(tmp_path, artifacts, capsys):
    assert main(["audio", "--tier", "light", "--artifacts", str(artifacts), "--output", str(tmp_path)]) == 1
    assert "audio-light; `make artifacts`" in capsys.readouterr().err


def test_the_bytes_depend_neither_on_the_folder_nor_on_times(tmp_path, artifacts):
    copied = copy_of_the_sources(tmp_path / "elsewhere")
    for path in copied.rglob("*.py"):
        os.utime(path, (1_000_000_000, 1_000_000_000))
    here = build("ensemble", tmp_path / "one", artifacts)
    there = build("ensemble", tmp_path / "two", shutil.copytree(artifacts, tmp_path / "others"), copied)
    assert here.read_bytes() == there.read_bytes()


def test_packages_are_staged_verbatim_and_nothing_else_is(tmp_path, artifacts):
    with zipfile.ZipFile(build("video", tmp_path, artifacts)) as archive:
        names = set(archive.namelist())
        for package in ("model_defs", "handlers"):
            for path in (PROJECT_DIR / package).rglob("*.py"):
                assert archive.read(path.relative_to(PROJECT_DIR).as_posix()) == path.read_bytes()
    tops = {name.split("/")[0] for name in names}
    assert tops == {"MAR-INF", "artifacts", "deepdetect.json", "handlers", "model_defs", "serve_video.py", "video.yaml"}
    assert not [name for name in names if "__pycache__" in name]
    assert {name for name in names if name.startswith("artifacts/")} == {
        "artifacts/video/fp32.pt",
        "artifacts/video/manifest.json",
    }


def test_the_manifest_says_what_the_archive_was_made_of(tmp_path, artifacts):
    with zipfile.ZipFile(build("ensemble", tmp_path, artifacts)) as archive:
        archive.extractall(tmp_path / "unpacked")
    record = json.loads((tmp_path / "unpacked" / "deepdetect.json").read_text())
    assert set(record["artifacts"]) == {"video", "audio"}
    video = record["artifacts"]["video"]
    assert (video["calibration"], video["torch"]) == ({"temperature": 1.5}, "2.8.0")
    published = {"test": {"fp32": {"measures": {"auc": 0.9}}}}
    assert video["figures"] == {"of": "networks when published", "date": None, "splits": published}
    assert record["source_digest"] == tree_digest(tmp_path / "unpacked", ("model_defs", "handlers"))
    manifest = json.loads((tmp_path / "unpacked" / "MAR-INF" / "MANIFEST.json").read_text())
    assert manifest["model"] == {
        "modelName": "ensemble",
        "handler": "serve_ensemble.py",
        "modelVersion": DECLARED["version"],
        "configFile": "ensemble.yaml",
    }


def test_figures_of_the_exported_files_go_before_those_of_the_networks(tmp_path, artifacts):
    root = copy_of_the_sources(tmp_path / "root")
    models = {name: {"measures": {"auc": 0.8}} for name in ("video fp32", "light fp32")}
    part = {
        "weights_sha256": {"video fp32": "0" * 64, "light fp32": "1" * 64},
        "splits": {"test": {"models": models}},
    }
    (root / "weights").mkdir()
    report = {"machine": {"date": "2026-11-24"}, "modalities": {"video": part}}
    (root / "weights" / "report.json").write_text(json.dumps(report))
    with zipfile.ZipFile(build("ensemble", tmp_path, artifacts, root)) as archive:
        built = json.loads(archive.read("deepdetect.json"))["artifacts"]
    evaluated = {"test": {"fp32": {"measures": {"auc": 0.8}}}}
    assert built["video"]["figures"] == {"of": "exported files", "date": "2026-11-24", "splits": evaluated}
    assert built["audio"]["figures"]["of"] == "networks when published"


@pytest.mark.parametrize(("digest_of_audio", "is_told"), [("0" * 64, True), ("2" * 64, False)])
def test_figures_of_the_fused_verdict_belong_to_both_weights(tmp_path, artifacts, digest_of_audio, is_told):
    root = copy_of_the_sources(tmp_path / "root")
    parts = {
        modality: {"weights_sha256": {f"{modality} fp32": digest}, "splits": {}}
        for modality, digest in (("video", "0" * 64), ("audio", digest_of_audio))
    }
    rows = {"ensemble": {"measures": {"auc": 0.9}}, "audio of the pairs": {}}
    fused = {"variants": {"video": "video fp32", "audio": "audio fp32"}, "splits": {"val": rows}}
    (root / "weights").mkdir()
    report = {"machine": {"date": "2026-11-24"}, "modalities": parts, "ensemble": fused}
    (root / "weights" / "report.json").write_text(json.dumps(report))
    with zipfile.ZipFile(build("ensemble", tmp_path, artifacts, root)) as archive:
        told = json.loads(archive.read("deepdetect.json")).get("figures")
    assert told == ({"date": "2026-11-24", "splits": {"val": {"measures": {"auc": 0.9}}}} if is_told else None)


@pytest.mark.parametrize("change", ["source", "artifact", "config"])
def test_the_digest_changes_with_whatever_changes(tmp_path, artifacts, change):
    root = copy_of_the_sources(tmp_path / "root")
    before = digest(build("video", tmp_path, artifacts, root))
    if change == "source":
        (root / "handlers" / "base.py").open("a").write("# changed\n")
    elif change == "config":
        (root / "config" / "video.yaml").open("a").write("jobQueueSize: 7\n")
    else:
        manifest = artifacts / "video" / "manifest.json"
        manifest.write_text(manifest.read_text().replace("1.5", "1.6"))
    assert digest(build("video", tmp_path, artifacts, root)) != before


def digest(archive: Path) -> str:
    with zipfile.ZipFile(archive) as packed:
        return json.loads(packed.read("deepdetect.json"))["digest"]


def test_a_tampered_artifact_is_refused(tmp_path, artifacts):
    (artifacts / "audio" / "fp32.pt").write_bytes(b"other weights")
    with pytest.raises(BuildError, match=r"fp32.pt"):
        build("audio", tmp_path, artifacts)


def test_a_missing_artifact_is_named_with_the_remedy(tmp_path, capsys):
    assert main(["audio", "--output", str(tmp_path), "--artifacts", str(tmp_path)]) == 1
    assert "make artifacts" in capsys.readouterr().err


def test_the_archivers_own_temporary_folder_is_left_alone(tmp_path, artifacts, monkeypatch):
    # torch-model-archiver deletes $TMPDIR/<model name> before it starts.
    monkeypatch.setenv("TMPDIR", str(tmp_path))
    precious = tmp_path / "video" / "precious.txt"
    precious.parent.mkdir()
    precious.write_text("mine")
    build("video", tmp_path / "out", artifacts)
    assert precious.read_text() == "mine"


@pytest.mark.parametrize("name", list(DECLARED["archives"]))
def test_every_declared_archive_has_its_handler_and_a_whole_configuration(name):
    declaration = DECLARED["archives"][name]
    module, handler = declaration["handler"].split(":")
    assert f"class {handler}(" in (PROJECT_DIR / f"{module.replace('.', '/')}.py").read_text()
    check_model_config(PROJECT_DIR / declaration["config"])


@pytest.mark.parametrize("change", [{"batchsize": 4}, {"responseTimeout": None}])
def test_keys_that_torchserve_would_ignore_are_refused(tmp_path, change):
    record = yaml.safe_load((PROJECT_DIR / "config" / "video.yaml").read_text()) | change
    path = tmp_path / "video.yaml"
    path.write_text(yaml.safe_dump({key: value for key, value in record.items() if value is not None}))
    with pytest.raises(BuildError, match=next(iter(change))):
        check_model_config(path)


def test_a_release_has_a_name_and_a_version_of_its_own_and_the_same_digest(tmp_path, artifacts):
    declared = DECLARED["archives"]["audio"]
    first = build("audio", tmp_path, artifacts)
    release = build_release("audio", declared, "2.0", tmp_path, artifacts)
    assert (first.name, release.name) == ("audio.mar", "audio-2.0.mar")
    with zipfile.ZipFile(release) as archive:
        model = json.loads(archive.read("MAR-INF/MANIFEST.json"))["model"]
        record = json.loads(archive.read("deepdetect.json"))
    assert (model["modelName"], model["modelVersion"]) == (record["name"], record["version"]) == ("audio", "2.0")
    assert digest(first) == digest(release)
    assert [path.name for path in tmp_path.glob(".release*")] == []


def test_a_version_stays_what_it_was(tmp_path, artifacts):
    declared, root = DECLARED["archives"]["audio"], copy_of_the_sources(tmp_path / "root")
    before = build_release("audio", declared, "2.0", tmp_path, artifacts, root).read_bytes()
    assert build_release("audio", declared, "2.0", tmp_path, artifacts, root).read_bytes() == before
    (root / "handlers" / "base.py").open("a").write("# changed\n")
    with pytest.raises(BuildError, match=r"audio-2\.0\.mar was made of other code"):
        build_release("audio", declared, "2.0", tmp_path, artifacts, root)
    assert (tmp_path / "audio-2.0.mar").read_bytes() == before


@pytest.mark.parametrize("version", ["2", "v2.0", "1.0.1", "1.10", "01.0", "0.0", "2.0\n", "-1.0", "1e3", ""])
def test_versions_that_torchserve_would_confuse_are_refused(version):
    with pytest.raises(BuildError, match="version"):
        check_version(version)


@pytest.mark.parametrize("version", ["1.0", "2.0", "2.1", "10.25", "20261124.1"])
def test_versions_that_are_decimal_numbers_are_allowed(version):
    check_version(version)
