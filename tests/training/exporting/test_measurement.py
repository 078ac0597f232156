from __future__ import annotations

from pathlib import Path

import pytest
import torch

from model_defs.networks.artifact import ArtifactError
from model_defs.networks.registry import NETWORKS, build_network
from model_defs.networks.weights import save_weights
from model_defs.spec import spec_to_dict
from training.exporting.measurement import (
    describe_machine,
    difference,
    interleaved_ms,
    measure_variants,
    read_measured,
    retime,
    write_measured,
)
from training.exporting.variants import check_inputs, export_variants

NAME = "mfcc_gru_light"


def test_difference_against_a_case_by_hand() -> None:
    found = difference(torch.tensor([0.1, 0.6, 0.9, 0.4]), torch.tensor([0.2, 0.6, 0.4, 0.4]))
    assert found.max_abs == pytest.approx(0.5)
    assert found.mean_abs == pytest.approx(0.15)
    assert found.agreement == pytest.approx(0.75)
    above = difference(torch.tensor([0.1, 0.6, 0.9, 0.4]), torch.tensor([0.2, 0.6, 0.4, 0.4]), threshold=0.95)
    assert above.agreement == 1


def test_no_number_is_no_agreement() -> None:
    assert difference(torch.tensor([0.1]), torch.tensor([float("nan")])).max_abs == float("inf")


def test_repetitions_are_taken_in_turns() -> None:
    order: list[str] = []
    runs = {name: lambda name=name: order.append(name) for name in ("a", "b")}
    times_ms = interleaved_ms(runs, n_repeats=3, n_warm_up=1)
    assert order == ["a", "b", *("a", "b") * 3]
    assert {name: len(values) for name, values in times_ms.items()} == {"a": 3, "b": 3}


def test_measures_every_variant_and_states_only_what_it_measured(tmp_path: Path) -> None:
    weights_dir, artifact_dir = tmp_path / "weights", tmp_path / "artifact"
    weights_dir.mkdir()
    spec = NETWORKS[NAME].spec
    save_weights(weights_dir / "model.safetensors", build_network(NAME), {"network": NAME, "spec": spec_to_dict(spec)})
    manifest = export_variants(weights_dir, artifact_dir)
    with pytest.raises(ArtifactError, match="is absent"):
        retime(weights_dir, artifact_dir)

    measured = measure_variants(artifact_dir, check_inputs(spec, n_inputs=6), n_repeats=2)
    assert measured["weights_sha256"] == manifest["weights_sha256"]
    variants = measured["variants"]
    assert variants["fp32"]["max_abs_diff"] == 0
    assert variants["int8"]["n_inputs"] == 6
    assert all(0 <= row["agreement"] <= 1 and row["max_abs_diff"] < 0.1 for row in variants.values())
    assert variants["int8"]["forward_ms"] > 0
    if not torch.cuda.is_available():
        assert variants["fp16"]["forward_ms"] is None
        assert variants["fp16"]["n_inputs"] == 4

    assert read_measured(weights_dir) is None
    write_measured(weights_dir, measured)
    assert read_measured(weights_dir) == measured
    again = retime(weights_dir, artifact_dir, n_repeats=2)
    assert again == read_measured(weights_dir)
    for variant, row in again["variants"].items():
        assert {**row, "forward_ms": None} == {**variants[variant], "forward_ms": None}


def test_the_machine_is_named() -> None:
    machine = describe_machine()
    assert machine["hardware"]
    assert machine["torch_threads"] == torch.get_num_threads()
    assert machine["versions"]["torch"] == torch.__version__
