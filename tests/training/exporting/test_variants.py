from __future__ import annotations

import io
import json
import shutil
import subprocess
import sys
import zipfile
from pathlib import Path

import pytest
import torch
from torch.jit import _builtins

import training.exporting.variants as export
from model_defs.networks.artifact import ArtifactError
from model_defs.networks.registry import NETWORKS, build_network
from model_defs.networks.weights import load_weights, save_weights, sha256_of
from model_defs.spec import spec_to_dict
from tests.conftest import PROJECT_DIR
from training.exporting.measurement import write_measured
from training.exporting.quantization import calibrate, save_observer_state
from training.exporting.variants import Tolerance, check_inputs, export_variants

VARIANTS = ("fp32", "int8", "fp16")


def _publish(directory: Path, name: str) -> Path:
    torch.manual_seed(2)
    directory.mkdir()
    meta = {"network": name, "spec": spec_to_dict(NETWORKS[name].spec)}
    save_weights(directory / "model.safetensors", build_network(name), meta)
    return directory


@pytest.fixture(scope="module")
def audio_weights(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return _publish(tmp_path_factory.mktemp("published") / "audio", "mfcc_gru_light")


@pytest.fixture
def weights_dir(audio_weights: Path, tmp_path: Path) -> Path:
    """A copy that a test may change."""
    return Path(shutil.copytree(audio_weights, tmp_path / "weights"))


def _digests(directory: Path) -> dict[str, str]:
    return {path.name: sha256_of(path) for path in directory.iterdir()}


def _measured(weights_dir: Path, **variants: dict) -> dict:
    rows = {name: {"forward_ms": 10.0, "max_abs_diff": 0.0, "agreement": 1.0} | row for name, row in variants.items()}
    digest = sha256_of(weights_dir / "model.safetensors")
    return {"weights_sha256": digest, "variants": rows, "measured_on": {"hardware": "a test"}}


def test_writes_every_variant_and_a_manifest_that_describes_it(weights_dir: Path, tmp_path: Path) -> None:
    output = tmp_path / "deep" / "audio"
    returned = export_variants(weights_dir, output)
    manifest = json.loads((output / "manifest.json").read_text())
    assert {path.name for path in output.iterdir()} == {"manifest.json", *(f"{name}.pt" for name in VARIANTS)}
    assert manifest["name"] == manifest["modality"] == "audio"
    assert manifest["labels"] == ["real", "fake"]
    assert manifest["calibration"] == {"temperature": 1.0, "bias": 0.0, "threshold": 0.5}
    assert manifest["weights_sha256"] == sha256_of(weights_dir / "model.safetensors")
    for name, entry in manifest["variants"].items():
        assert entry["sha256"] == sha256_of(output / entry["file"])
        assert entry["size_bytes"] == (output / entry["file"]).stat().st_size
        assert entry["forward_ms"] is None, "what was not measured is not stated"
        assert returned["checks"][name].agreement > 0
    assert returned["checks"]["fp32"].max_abs < 1e-5


@pytest.mark.parametrize("name", ["mfcc_gru_light", "mobilenet_v2_lstm"])
def test_bytes_do_not_depend_on_the_folder_or_on_what_the_process_did_before(tmp_path: Path, name: str) -> None:
    weights_dir = _publish(tmp_path / "weights", name)
    net, here, there = build_network(name).eval(), tmp_path / "here", tmp_path / "there"
    if NETWORKS[name].modality == "video":
        clips = check_inputs(NETWORKS[name].spec, n_inputs=2)
        save_observer_state(weights_dir / "quantization.safetensors", calibrate(net, clips.split(1)))
    export.script(net)  # torch then numbers the classes that it compiles again
    export_variants(weights_dir, here, ("fp32", "int8"))
    moved = Path(shutil.copytree(weights_dir, tmp_path / "elsewhere" / "weights"))
    command = [
        sys.executable,
        "-m",
        "training.export",
        str(moved),
        "--output",
        str(there),
        "--variants",
        "fp32",
        "int8",
    ]
    subprocess.run(command, check=True, capture_output=True, cwd=PROJECT_DIR)
    assert _digests(here) == _digests(there)


def test_files_hold_no_paths(weights_dir: Path, tmp_path: Path) -> None:
    export_variants(weights_dir, tmp_path / "audio")
    for variant in VARIANTS:
        with zipfile.ZipFile(tmp_path / "audio" / f"{variant}.pt") as archive:
            for name in archive.namelist():
                assert not name.endswith(".debug_pkl")
                assert str(PROJECT_DIR).encode() not in archive.read(name)


def test_a_deflated_file_gives_what_a_stored_one_gives(audio_weights: Path) -> None:
    module = export.build_variant(load_weights(audio_weights / "model.safetensors")[0], "int8", audio_weights)
    stored = io.BytesIO()
    torch.jit.save(module, stored)
    content = export.serialize(module, {})
    assert len(content) < 0.8 * len(stored.getvalue())
    windows = check_inputs(NETWORKS["mfcc_gru_light"].spec, n_inputs=2)
    stored.seek(0)
    expected, found = torch.jit.load(stored)(windows), torch.jit.load(io.BytesIO(content))(windows)
    assert all(torch.equal(one, other) for one, other in zip(expected, found, strict=True))


def test_rounding_leaves_eight_bits_of_the_mantissa_and_the_range() -> None:
    class Weight(torch.nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.register_buffer("weight", torch.stack([torch.randn(500), torch.randn(500) * 1e-20, torch.zeros(500)]))

        def forward(self, scale: torch.Tensor) -> torch.Tensor:
            return self.weight.t() * scale  # frozen, it is a constant that does not lie in order

    torch.manual_seed(2)
    net, one = Weight().eval(), torch.ones(1)
    exact = net(one).clone()
    rounded = export.round_floats(torch.jit.freeze(torch.jit.script(net)))(one)
    assert not (rounded.view(torch.int32) & (2**15 - 1)).any()
    torch.testing.assert_close(rounded, exact, rtol=2**-9, atol=0)
    assert not torch.equal(rounded, exact)


def test_measured_figures_reach_the_manifest_and_choose_the_default(weights_dir: Path, tmp_path: Path) -> None:
    cases = [
        ({"forward_ms": 4.0, "agreement": 1.0}, "int8"),
        ({"forward_ms": 9.8, "agreement": 1.0}, "fp32"),  # not quicker by enough
        ({"forward_ms": 4.0, "agreement": 0.95}, "fp32"),  # differs too often
    ]
    for int8, expected in cases:
        write_measured(weights_dir, _measured(weights_dir, fp32={}, int8=int8))
        manifest = export_variants(weights_dir, tmp_path / "audio")
        assert manifest["default_variant"] == {"cpu": expected, "cuda": "fp16"}
        assert manifest["variants"]["int8"]["forward_ms"] == int8["forward_ms"]
        assert manifest["measured_on"] == {"hardware": "a test"}


def test_figures_of_other_weights_are_refused_and_int8_that_disagrees_is_left_out(
    weights_dir: Path, tmp_path: Path
) -> None:
    write_measured(weights_dir, _measured(weights_dir) | {"weights_sha256": "0" * 64})
    with pytest.raises(ArtifactError, match="measure again"):
        export_variants(weights_dir, tmp_path / "audio")
    write_measured(weights_dir, _measured(weights_dir, int8={"agreement": 0.6}))
    with pytest.warns(UserWarning, match=r"fp32 kept: int8 agrees with fp32 on 60\.0%"):
        manifest = export_variants(weights_dir, tmp_path / "audio")
    assert set(manifest["variants"]) == {"fp32", "fp16"}
    assert manifest["default_variant"]["cpu"] == "fp32"
    assert "60.0%" in manifest["left_out"]["int8"]
    write_measured(weights_dir, _measured(weights_dir, fp16={"agreement": 0.6}))
    with pytest.raises(ArtifactError, match="fp16 agrees"):
        export_variants(weights_dir, tmp_path / "audio")


def test_a_variant_that_differs_too_much_leaves_what_was_there(
    weights_dir: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    output = tmp_path / "audio"
    export_variants(weights_dir, output, ("fp32",))
    before = _digests(output)
    monkeypatch.setitem(export.TOLERANCES, "fp16", Tolerance(1e-9, 1e-9))
    with pytest.raises(ArtifactError, match="fp16 differs too much"):
        export_variants(weights_dir, output)
    assert _digests(output) == before
    assert [path.name for path in tmp_path.iterdir() if path.name.startswith(".export")] == []


def test_int8_of_a_video_network_needs_its_calibration(tmp_path: Path) -> None:
    weights_dir = _publish(tmp_path / "weights", "mobilenet_v2_lstm")
    with pytest.raises(FileNotFoundError, match=r"quantization\.safetensors"):
        export_variants(weights_dir, tmp_path / "video", ("int8",))


def test_scripting_survives_a_reused_address() -> None:
    layer = torch.nn.Conv2d(1, 1, 1)
    stale = id(layer._reversed_padding_repeated_twice), "quantized_decomposed::quantize_per_tensor"
    _builtins._get_builtin_table().update([stale])
    with pytest.raises(RuntimeError, match="builtin cannot be used as a value"):
        torch.jit.script(layer)
    layer = torch.nn.ConvTranspose2d(1, 1, 1)  # a class that torch has not half compiled
    stale = id(layer._reversed_padding_repeated_twice), "quantized_decomposed::quantize_per_tensor"
    _builtins._get_builtin_table().update([stale])
    assert export.script(layer)(torch.zeros(1, 1, 2, 2)).shape == (1, 1, 2, 2)


def test_the_fp32_variant_of_a_video_network_also_runs_in_two_parts() -> None:
    torch.manual_seed(2)
    net = build_network("mobilenet_v2_lstm").eval()
    module = export.build_variant(net, "fp32", Path("unused"))
    frames = torch.randn(2, 3, 3, 64, 64)
    with torch.no_grad():
        whole, parts = module(frames), module.judge_maps(module.feature_maps(frames))
        assert torch.allclose(whole[0], net(frames)[0], atol=1e-5)
    for expected, found in zip(whole, parts, strict=True):
        assert torch.allclose(expected, found, atol=1e-6)
    n_bytes = sum(parameter.numel() * 4 for parameter in net.parameters())
    assert len(export.serialize(module, {})) < 1.1 * n_bytes  # the parts share their weights
