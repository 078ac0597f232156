from __future__ import annotations

import json
import shutil
from pathlib import Path

import pytest
import torch

from model_defs.networks.artifact import ArtifactError, load_artifact
from model_defs.networks.registry import NETWORKS, build_network
from model_defs.networks.weights import save_weights
from model_defs.spec import spec_to_dict
from training.exporting.variants import check_inputs, export_variants

NAME = "mfcc_gru_light"
SPEC = NETWORKS[NAME].spec
INPUTS = check_inputs(SPEC, n_inputs=2)


@pytest.fixture(scope="module")
def weights_file(tmp_path_factory: pytest.TempPathFactory) -> Path:
    torch.manual_seed(1)
    path = tmp_path_factory.mktemp("weights") / "model.safetensors"
    meta = {"network": NAME, "spec": spec_to_dict(SPEC), "calibration": {"temperature": 2.0}}
    save_weights(path, build_network(NAME), meta)
    return path


@pytest.fixture(scope="module")
def exported(weights_file: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    directory = tmp_path_factory.mktemp("artifact") / "audio"
    export_variants(weights_file.parent, directory)
    return directory


@pytest.fixture
def directory(exported: Path, tmp_path: Path) -> Path:
    """A copy that a test may damage."""
    return Path(shutil.copytree(exported, tmp_path / "audio"))


def test_directory_file_and_plain_weights_give_one_answer(exported: Path, weights_file: Path) -> None:
    artifacts = [load_artifact(path) for path in (exported, exported / "fp32.pt", weights_file)]
    for artifact in artifacts:
        assert artifact.variant == "fp32"
        assert artifact.spec == SPEC
        assert artifact.meta["network"] == NAME
        assert artifact.meta["calibration"] == {"temperature": 2.0}
        logits, attention = artifact.forward(INPUTS)
        assert logits.dtype == attention.dtype == torch.float32
        torch.testing.assert_close(logits, artifacts[0].forward(INPUTS)[0])


def test_int8_is_another_module_with_nearly_the_same_answer(exported: Path) -> None:
    fp32, int8 = (load_artifact(exported, variant=variant).forward(INPUTS)[0] for variant in ("fp32", "int8"))
    assert not torch.equal(fp32, int8)
    torch.testing.assert_close(int8.softmax(1), fp32.softmax(1), atol=0.05, rtol=0)


def test_auto_takes_what_the_manifest_names(directory: Path) -> None:
    manifest = json.loads((directory / "manifest.json").read_text())
    manifest["default_variant"]["cpu"] = "int8"
    (directory / "manifest.json").write_text(json.dumps(manifest))
    assert load_artifact(directory).variant == "int8"


def test_a_training_checkpoint_runs_as_fp32_and_is_quantized_in_memory(tmp_path: Path) -> None:
    net = build_network(NAME)
    path = tmp_path / "checkpoint.pt"
    torch.save({"network": NAME, "spec": spec_to_dict(SPEC), "state": net.state_dict(), "epoch": 1}, path)
    artifact = load_artifact(path)
    with torch.inference_mode():
        torch.testing.assert_close(artifact.forward(INPUTS)[0], net.eval()(INPUTS)[0])
    reduced = load_artifact(path, variant="int8")
    assert reduced.variant == "int8"
    torch.testing.assert_close(reduced.forward(INPUTS)[0], artifact.forward(INPUTS)[0], atol=0.1, rtol=0)
    with pytest.raises(ArtifactError, match="cuda only"):
        load_artifact(path, variant="fp16")


def test_fp16_is_for_cuda_only(exported: Path) -> None:
    for path in (exported, exported / "fp16.pt"):
        with pytest.raises(ArtifactError, match="cuda only"):
            load_artifact(path, device="cpu", variant="fp16")


@pytest.mark.skipif(torch.cuda.is_available(), reason="this is about machines without CUDA")
def test_cuda_where_there_is_none_is_an_error(exported: Path) -> None:
    with pytest.raises(ArtifactError, match="CUDA is not available"):
        load_artifact(exported, device="cuda")


@pytest.mark.skipif(not torch.cuda.is_available(), reason="needs CUDA")
def test_on_cuda_fp16_is_the_default_and_int8_refused(exported: Path) -> None:
    artifact = load_artifact(exported, device="cuda")
    assert artifact.variant == "fp16"
    expected = load_artifact(exported, variant="fp32").forward(INPUTS)[0]
    torch.testing.assert_close(artifact.forward(INPUTS)[0], expected, atol=0.02, rtol=0.02)
    with pytest.raises(ArtifactError, match="cpu only"):
        load_artifact(exported, device="cuda", variant="int8")


def test_a_file_that_the_manifest_does_not_describe_is_refused(directory: Path) -> None:
    with (directory / "fp32.pt").open("ab") as file:
        file.write(b"\0")
    with pytest.raises(ArtifactError, match="SHA-256"):
        load_artifact(directory)


def test_foreign_files_are_refused(tmp_path: Path) -> None:
    torch.jit.save(torch.jit.script(torch.nn.ReLU()), tmp_path / "foreign.pt")
    with pytest.raises(ArtifactError, match=r"carries no deepdetect\.json"):
        load_artifact(tmp_path / "foreign.pt")
    with pytest.raises(ArtifactError, match=r"manifest\.json cannot be read"):
        load_artifact(tmp_path)
    with pytest.raises(FileNotFoundError):
        load_artifact(tmp_path / "absent")


def test_unknown_variants_name_the_known_ones(exported: Path) -> None:
    with pytest.raises(ArtifactError, match="auto, fp32, int8, fp16"):
        load_artifact(exported, variant="int4")
    with pytest.raises(ArtifactError, match="fp32 variant, and int8 was asked for"):
        load_artifact(exported / "fp32.pt", variant="int8")
