"""What is published is what was measured: rounded weights, a fitted calibration, honest metrics."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path

import pytest
import torch
from safetensors.torch import load_file

from model_defs.networks.registry import NETWORKS, build_network
from model_defs.networks.weights import load_weights, sha256_of
from model_defs.spec import LABELS, spec_to_dict
from training.data.datasets import load_dataset, select
from training.data.prepared import prepare
from training.evaluation.scores import score_clips
from training.exporting.anomaly import ANOMALY_FILE
from training.exporting.publication import publish
from training.publish import main

SPEC = replace(NETWORKS["mfcc_gru_light"].spec, hop_length=1024)


@pytest.fixture
def checkpoint(audio_dataset, tmp_path) -> Path:
    """A network that was not trained, turned so that its margin rises with the label of the val clips."""
    torch.manual_seed(0)
    net = build_network("mfcc_gru_light").eval()
    val = prepare(select(load_dataset(audio_dataset), "val"), SPEC, tmp_path / "cache", show_progress=False)
    scores = score_clips(net, val, SPEC)
    margin = scores.logits[:, 1] - scores.logits[:, 0]
    if margin[scores.labels == 1].mean() < margin[scores.labels == 0].mean():
        with torch.no_grad():
            net.classifier[-1].weight.neg_()
    path = tmp_path / "model.pt"
    torch.save(
        {
            "network": "mfcc_gru_light",
            "spec": spec_to_dict(SPEC),
            "labels": list(LABELS),
            "epoch": 1,
            "state": net.state_dict(),
        },
        path,
    )
    return path


def test_published_folder_is_complete_and_consistent(checkpoint, audio_dataset, tmp_path):
    output = tmp_path / "weights"
    output.mkdir()
    (output / "quantization.safetensors").write_bytes(
        b"ranges of a network with 2-D convolutions, which was here before"
    )
    metrics = publish(checkpoint, audio_dataset, output, cache_dir=tmp_path / "cache", n_workers=1)

    net, meta = load_weights(output / "model.safetensors")
    original, _ = load_weights(checkpoint)
    for name, tensor in original.state_dict().items():
        torch.testing.assert_close(net.state_dict()[name], tensor, rtol=1e-3, atol=1e-4)
    assert meta["spec"] == spec_to_dict(SPEC)
    assert meta["metrics"]["val"]["fp32"]["auc"]["value"] == pytest.approx(
        metrics["val"]["fp32"]["auc"].value, abs=1e-4
    )
    assert set(metrics) == {"val"}  # test stays closed unless it is asked for
    assert set(metrics["val"]) == {"fp32", "int8"}

    assert not (output / "quantization.safetensors").exists()
    measured = json.loads((output / "measured.json").read_text())
    assert measured["weights_sha256"] == sha256_of(output / "model.safetensors")
    card = (output / "MODEL_CARD.md").read_text()
    for expected in (
        "mfcc_gru_light",
        "| val | fp32 |",
        "## Intended use and limits",
        "`hop_length`: 1024",
        "| train | 4 | 4 |",
    ):
        assert expected in card
    assert str(audio_dataset) not in card


def test_publishing_twice_gives_the_same_weights(checkpoint, audio_dataset, tmp_path):
    digests = set()
    for name in ("a", "b"):
        publish(checkpoint, audio_dataset, tmp_path / name, cache_dir=tmp_path / "cache", n_workers=1)
        digests.add(sha256_of(tmp_path / name / "model.safetensors"))
    assert len(digests) == 1


def test_interrupted_publication_leaves_the_published_files_alone(checkpoint, audio_dataset, tmp_path, monkeypatch):
    output = tmp_path / "weights"
    output.mkdir()
    (output / "model.safetensors").write_bytes(b"the weights before")

    def interrupt(*arguments):
        raise KeyboardInterrupt

    monkeypatch.setattr("training.exporting.publication.measure_variants", interrupt)
    with pytest.raises(KeyboardInterrupt):
        publish(checkpoint, audio_dataset, output, cache_dir=tmp_path / "cache", n_workers=1)
    assert (output / "model.safetensors").read_bytes() == b"the weights before"
    assert [path.name for path in output.iterdir()] == ["model.safetensors"]
    assert not list(tmp_path.glob(".publish-*"))


def test_command_averages_checkpoints_and_fits_the_ood_distance_alone(checkpoint, audio_dataset, tmp_path, capsys):
    output, folders = tmp_path / "weights", ["--dataset", str(audio_dataset), "--cache", str(tmp_path / "cache")]
    main([str(checkpoint), str(checkpoint), *folders, "--output", str(output), "--workers", "1"])
    assert "auc" in capsys.readouterr().out
    before = load_file(output / ANOMALY_FILE)
    weights = (output / "model.safetensors").read_bytes()
    (output / ANOMALY_FILE).unlink()
    main([str(output / "model.safetensors"), *folders, "--output", str(output), "--only-ood"])
    assert (output / "model.safetensors").read_bytes() == weights
    after = load_file(output / ANOMALY_FILE)
    assert before.keys() == after.keys()
    assert all(torch.equal(before[name], after[name]) for name in before)
    with pytest.raises(SystemExit):
        main([str(checkpoint), str(tmp_path / "absent.pt"), *folders, "--output", str(output)])
    assert "absent.pt" in capsys.readouterr().err
