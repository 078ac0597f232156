"""The script on tiny clips: the network that it leaves says what logistic regression said."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
from safetensors.torch import save_file
from sklearn.linear_model import LogisticRegression
from torch import nn

from model_defs.networks import backbones
from model_defs.networks.registry import NETWORKS, build_network
from model_defs.networks.video import FrameScoreNet
from model_defs.networks.video_transformer import PatchTransformer
from model_defs.networks.weights import load_weights, save_weights
from model_defs.spec import spec_to_dict
from training.data.clip import Clip
from training.exporting.variants import build_variant
from training.fit_video import Head, HeadFit, main
from training.loop.checkpoint import RunError
from training.tasks.video_vectors import AS_IT_IS, DAMAGED, PSEUDO_FAKE, Vectors

SIZES = {"width": 16, "n_blocks": 1, "n_heads": 2, "size_px": 64}
pytestmark = pytest.mark.usefixtures("few_resamples")


@pytest.fixture
def files(tmp_path, monkeypatch):
    """Backbone files of a small transformer and of an EfficientNet that was not trained."""
    monkeypatch.setattr(backbones.ClipViT, "sizes", SIZES)
    for name, n_features in (("clip_vit_b16", 32), ("clip_vit_b16_efficientnet_b0", 32 + 1280)):
        monkeypatch.setitem(backbones._SOURCES, name, replace(backbones._SOURCES[name], n_features=n_features))
    torch.manual_seed(0)
    transformer, convolutions = tmp_path / "transformer.safetensors", tmp_path / "convolutions.safetensors"
    state = PatchTransformer(**SIZES).state_dict()
    save_file({f"features.0.{name}": tensor.contiguous() for name, tensor in state.items()}, transformer)
    meta = {"network": "efficientnet_b0_frames", "spec": spec_to_dict(NETWORKS["efficientnet_b0_frames"].spec)}
    save_weights(convolutions, build_network("efficientnet_b0_frames"), meta)
    return ["--transformer", str(transformer)], ["--convolutions", str(convolutions)]


@pytest.fixture
def common(video_dataset, tmp_path):
    options = ["--size-px", "64", "--n-frames", "2", "--face-detector", "haar", "--workers", "0", "--no-export"]
    return [*options, "--dataset", str(video_dataset), "--cache", str(tmp_path / "cache")]


def test_script_leaves_a_network_and_its_vectors(files, common, tmp_path, capsys):
    path = tmp_path / "model.pt"
    argv = ["--config", "video-accurate", *common, *files[0], *files[1], "--save-path", str(path)]
    assert main(argv) == path
    net, record = load_weights(path)
    assert record["network"] == "clip_efficientnet_b0_frames"
    with torch.inference_mode():
        assert net(torch.randn(1, 2, 3, 64, 64))[0].isfinite().all()
    donor, _ = load_weights(files[1][1])
    kept = net.classifier[1].weight[1, 32:] / donor.classifier[1].weight[1]
    torch.testing.assert_close(kept, kept[:1].expand_as(kept), atol=1e-4, rtol=1e-3)  # scaled as a whole
    assert len(json.loads(path.with_suffix(".history.json").read_text())) == 1
    vectors = sorted((tmp_path / "cache" / "vectors").rglob("*.npz"))
    assert len(vectors) == 4 + 2
    times = [file.stat().st_mtime_ns for file in vectors]
    main(argv)
    assert [file.stat().st_mtime_ns for file in vectors] == times
    assert "validation clips" in capsys.readouterr().out


@pytest.mark.parametrize("network", ["clip_vit_b16_frames", "clip_efficientnet_b0_frames"])
def test_every_variant_can_be_scripted_and_says_the_same(files, network, tmp_path):
    torch.manual_seed(2)
    net = build_network(network).eval()
    frames = torch.randn(1, 2, 3, 64, 64)
    with torch.inference_mode():
        expected = net(frames)[0]
        for variant, tolerance in (("fp32", 1e-4), ("fp16", 0.02), ("int8", 0.1)):
            module = build_variant(net, variant, tmp_path)  # int8 wants no ranges
            found = module(frames.half() if variant == "fp16" else frames)[0]
            torch.testing.assert_close(found.float(), expected, atol=tolerance, rtol=0)
            if variant == "fp32":
                maps = module.feature_maps(frames)
                torch.testing.assert_close(module.judge_maps(maps)[0], expected, atol=1e-4, rtol=0)


def test_the_transformer_alone(files, common, tmp_path):
    path = main(["--network", "clip_vit_b16_frames", *common, *files[0], "--save-path", str(tmp_path / "alone.pt")])
    assert load_weights(path)[1]["network"] == "clip_vit_b16_frames"


@pytest.mark.parametrize("network", ["clip_vit_b16_frames", "clip_efficientnet_b0_frames"])
def test_files_that_do_not_fit_are_refused(files, common, tmp_path, network):
    is_joint = network == "clip_efficientnet_b0_frames"
    with pytest.raises(RunError, match="wants --convolutions" if is_joint else "has no convolutions"):
        main(["--network", network, *common, *files[0], *([] if is_joint else files[1])])
    damaged = tmp_path / "damaged.safetensors"
    damaged.write_bytes(b"nothing of the kind")
    for wrong in (damaged, files[1][1]):
        with pytest.raises(RunError, match=r"no file that training\.clip_encoder made"):
            main(["--network", network, *common, "--transformer", str(wrong), *(files[1] if is_joint else [])])


def head(n_clips: int = 40, **fit) -> Head:
    """A head over vectors of which the first column tells the class, pseudo-fakes among them."""
    rng = np.random.default_rng(0)
    labels = np.arange(n_clips) % 2
    clips = [
        Clip(
            Path(f"{i}.jpg"), int(label), f"person {i}", "train", f"source {i // 2 % 8}", system=f"system {i // 2 % 8}"
        )
        for i, label in enumerate(labels)
    ]
    kinds = np.tile([AS_IT_IS, DAMAGED, PSEUDO_FAKE], n_clips)
    of_clip = np.repeat(np.arange(n_clips), 3)
    kept = (kinds != PSEUDO_FAKE) | (labels[of_clip] == 0)
    values = rng.standard_normal((3 * n_clips, 8)).astype(np.float32)
    values[:, 0] += 3 * np.where(kinds == PSEUDO_FAKE, 1, labels[of_clip])
    net = FrameScoreNet(_Backbone(), dropout=0.0).eval()
    return Head(net, clips, Vectors(values[kept], of_clip[kept], kinds[kept]), HeadFit(**fit))


class _Backbone(nn.Module):
    n_features = 8

    def __init__(self) -> None:
        super().__init__()
        self.features = nn.Sequential(PatchTransformer(width=4, n_blocks=1, n_heads=1, size_px=32))


def test_the_classifier_is_the_regression_that_was_solved():
    fitted = head(c=0.1)
    fitted.fit(range(40))
    vectors, weight = fitted.vectors, fitted.net.classifier[1].weight.detach().numpy()
    rows = np.arange(len(vectors.clips))
    labels = fitted._labels(rows)
    assert labels[vectors.kinds == PSEUDO_FAKE].all()
    weights = fitted._weights(rows, labels)
    assert weights[labels == 0].sum() == pytest.approx(weights[labels == 1].sum())
    assert weights[vectors.kinds == PSEUDO_FAKE].sum() == pytest.approx(0.2 * weights[labels == 1].sum())
    points = (vectors.values - vectors.values.mean(0)) / (vectors.values.std(0) + 1e-6)
    machine = LogisticRegression(C=0.1, max_iter=300, tol=1e-3).fit(points, labels, sample_weight=weights)
    bias = fitted.net.classifier[1].bias.detach().numpy()
    odds = vectors.values @ (weight[1] - weight[0]) + bias[1] - bias[0]
    np.testing.assert_allclose(odds, machine.decision_function(points), atol=0.02)


def test_held_out_sources_are_told_by_what_all_share(capsys):
    fitted = head(n_clips=64, c=0.1, folds=4)
    figures = fitted.cross_validate()
    assert figures["folds_auc"] > 0.9
    assert "4 folds" in capsys.readouterr().out
    assert head(folds=0).cross_validate() == {}


def test_both_parts_are_balanced_over_clips():
    fitted = head(c=0.1)
    fitted.n_own = 4
    with torch.no_grad():
        fitted.net.classifier[1].weight.copy_(torch.randn(2, 8))
    fitted.balance(fitted.vectors, 0.25)
    assert fitted.logits(fitted.vectors, "own").std() == pytest.approx(1.5, rel=1e-4)
    assert fitted.logits(fitted.vectors, "convolutions").std() == pytest.approx(0.5, rel=1e-4)
    bias = fitted.net.classifier[1].bias.detach()
    total = fitted.logits(fitted.vectors, "own") + fitted.logits(fitted.vectors, "convolutions")
    assert np.mean(total) + float(bias[1] - bias[0]) == pytest.approx(0, abs=1e-4)


@pytest.mark.parametrize("wrong", [{"self_blended": 1.5}, {"c": 0.0}, {"folds": 1}, {"n_damaged": -1}])
def test_settings_out_of_bounds_are_refused(wrong):
    with pytest.raises(ValueError, match=next(iter(wrong))):
        HeadFit(**wrong)
