"""The anomaly score from prepared clips to an answer."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import torch
from sklearn.covariance import LedoitWolf

from model_defs.decoding.media import Media
from model_defs.inference.audio_predictor import AudioPredictor
from model_defs.inference.options import DetectOptions
from model_defs.networks.artifact import ArtifactError
from model_defs.networks.ood import OodScale
from model_defs.networks.registry import build_network
from model_defs.networks.weights import save_weights
from model_defs.spec import spec_to_dict
from tests.training.artifacts import AUDIO_SPEC
from training.data.datasets import DatasetError, load_dataset
from training.data.prepared import PreparedClip, prepare
from training.evaluation.ood_media import kinds
from training.exporting.anomaly import clip_distances, fit_distance, read_anomaly, write_anomaly
from training.exporting.quantization import quantize_int8
from training.exporting.variants import export_variants


@pytest.fixture(scope="module")
def net() -> torch.nn.Module:
    torch.manual_seed(0)
    return build_network("mfcc_gru_light").eval()


@pytest.fixture(scope="module")
def clips(audio_dataset, tmp_path_factory) -> dict[str, list[PreparedClip]]:
    folder = tmp_path_factory.mktemp("cache")
    prepared = prepare(load_dataset(audio_dataset), AUDIO_SPEC, folder, show_progress=False)
    return {split: [item for item in prepared if item.clip.split == split] for split in ("train", "val")}


@pytest.fixture(scope="module")
def weights(net, clips, tmp_path_factory) -> Path:
    folder = tmp_path_factory.mktemp("weights")
    meta = {"network": "mfcc_gru_light", "spec": spec_to_dict(AUDIO_SPEC)}
    save_weights(folder / "model.safetensors", net, meta)
    write_anomaly(folder, {"fp32": net, "int8": quantize_int8(net)}, clips["train"], clips["val"], AUDIO_SPEC)
    return folder


def test_distance_agrees_with_the_inverse_of_the_shrunk_covariance(net, clips, monkeypatch) -> None:
    """With every axis kept it is Mahalanobis' distance as written in a textbook."""
    monkeypatch.setattr("training.exporting.anomaly.N_DIRECTIONS", 10_000)
    seen = []
    hook = net.classifier.register_forward_pre_hook(lambda _, inputs: seen.append(inputs[0].detach().double().numpy()))
    distance = fit_distance(net, clips["train"], AUDIO_SPEC)
    hook.remove()
    vectors, labels = np.concatenate(seen), np.array([item.clip.label for item in clips["train"]])
    means = np.stack([vectors[labels == label].mean(0) for label in (0, 1)])
    covariance = LedoitWolf(assume_centered=True).fit(vectors - means[labels]).covariance_
    apart = vectors[:, None] - means
    expected = np.sqrt(np.einsum("ncd,de,nce->nc", apart, np.linalg.inv(covariance), apart).min(1))
    np.testing.assert_allclose(distance(torch.from_numpy(vectors)).numpy(), expected, rtol=1e-3)


def test_one_class_alone_is_refused(net, clips) -> None:
    with pytest.raises(DatasetError, match="both classes"):
        fit_distance(net, [item for item in clips["train"] if item.clip.label == 0], AUDIO_SPEC)


def test_file_holds_the_distance_and_the_distances_of_val(net, clips, weights) -> None:
    distance, percentiles = read_anomaly(weights)
    distances = clip_distances(net, distance, clips["val"], AUDIO_SPEC)
    assert {variant: len(found) for variant, found in percentiles.items()} == {"fp32": 101, "int8": 101}
    assert percentiles["fp32"][0] == pytest.approx(distances.min(), rel=1e-3)
    assert percentiles["fp32"][-1] == pytest.approx(distances.max(), rel=1e-3)


def test_other_weights_are_refused(weights, tmp_path) -> None:
    (tmp_path / "anomaly.safetensors").write_bytes((weights / "anomaly.safetensors").read_bytes())
    (tmp_path / "model.safetensors").write_bytes(b"others")
    with pytest.raises(ArtifactError, match="other weights"):
        read_anomaly(tmp_path)


@pytest.mark.parametrize("variant", ["fp32", "int8"])
def test_answer_tells_a_strange_sound_from_a_clip_of_training(weights, clips, tmp_path, variant) -> None:
    export_variants(weights, tmp_path / "artifact", (variant,))
    predictor = AudioPredictor(tmp_path / "artifact", "cpu", variant)
    samples = []
    for source in (clips["train"][0].clip.path, kinds("audio")["clicks"](np.random.default_rng(0))):
        with Media(source) as media:
            samples.append(predictor.sample(media, DetectOptions()))
    known, strange = predictor.score(samples)
    scale = OodScale(tuple(read_anomaly(weights)[1][variant]))
    assert strange.details["anomaly"]["score"] > 2 * known.details["anomaly"]["score"]
    for score in (known, strange):
        anomaly = score.details["anomaly"]
        assert anomaly["percentile"] == pytest.approx(scale.percentile(anomaly["score"]), abs=0.1)
        assert any("unlike the clips" in warning for warning in score.warnings) == scale.warns(anomaly["score"])


def test_weights_published_without_it_answer_without_it(weights, clips, tmp_path) -> None:
    (tmp_path / "model.safetensors").write_bytes((weights / "model.safetensors").read_bytes())
    export_variants(tmp_path, tmp_path / "artifact", ("fp32",))
    predictor = AudioPredictor(tmp_path / "artifact")
    with Media(clips["val"][0].clip.path) as media:
        (score,) = predictor.score([predictor.sample(media, DetectOptions())])
    assert "anomaly" not in score.details
