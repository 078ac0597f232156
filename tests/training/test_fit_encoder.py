"""The script on tiny clips, from a pretrained file to a checkpoint that scores them."""

from __future__ import annotations

import json

import numpy as np
import pytest
import torch

from model_defs.networks.weights import load_weights
from training import fit_encoder
from training.evaluation.metrics import summarize
from training.evaluation.scores import score_clips
from training.loop.checkpoint import RunError
from training.tasks import audio_maps

pytestmark = pytest.mark.usefixtures("few_resamples")


def arguments(dataset, pretrained_encoder, folder, *more: str) -> list[str]:
    return [
        *(
            "--dataset",
            str(dataset),
            "--encoder-weights",
            str(pretrained_encoder),
            "--save-path",
            str(folder / "model.pt"),
        ),
        *("--cache", str(folder / "cache"), "--workers", "1", "--n-damaged", "1", "--no-export", "--no-tensorboard"),
        *("--epochs", "1", "--batch-size", "4", *more),
    ]


def test_a_run_leaves_a_network_that_scores_as_it_says(audio_dataset, pretrained_encoder, tmp_path, monkeypatch):
    scored = {}

    def keep(*given, **named):
        scored["val"] = score_clips(*given, **named)
        return scored["val"]

    monkeypatch.setattr("training.run.lifecycle.score_clips", keep)
    path = fit_encoder.main(arguments(audio_dataset, pretrained_encoder, tmp_path))
    net, record = load_weights(path)
    pretrained = torch.load(pretrained_encoder, weights_only=True)["model"]
    torch.testing.assert_close(net.local[0].weight, pretrained["cnn.cnn.0.weight"])  # stays as it was
    moved = pretrained["transformer_pool_attn.transformer.transformer_encoder.layers.0.linear1.weight"]
    assert not torch.equal(net.layers[0].widened.weight, moved)
    scores = scored["val"]
    found = summarize(scores.labels, scores.p_fake, n_resamples=0)["auc"].value
    assert found == pytest.approx(record["val"]["val_auc"], abs=0.26)  # maps are bf16: one pair of four may turn
    maps = sorted((tmp_path / "cache").rglob("*.maps.npy"))
    assert len(maps) == 3  # train clips as they are and damaged, val clips
    times = [one.stat().st_mtime_ns for one in maps]
    fit_encoder.main(arguments(audio_dataset, pretrained_encoder, tmp_path, "--probe-only"))
    assert [one.stat().st_mtime_ns for one in maps] == times  # made once


def test_maps_are_what_the_convolutions_make(audio_dataset, pretrained_encoder, tmp_path):
    fit_encoder.main(arguments(audio_dataset, pretrained_encoder, tmp_path, "--probe-only"))
    for path in (tmp_path / "cache").rglob("*.maps.npy"):
        maps = np.load(path)
        done = np.load(path.with_name(path.name.replace(".maps.", ".done.")))
        assert done.all()
        assert np.isfinite(maps).all()
        assert maps.std() > 0


def test_an_unknown_fold_is_named(audio_dataset, pretrained_encoder, tmp_path):
    with pytest.raises(RunError, match="fold is 7"):
        fit_encoder.main(arguments(audio_dataset, pretrained_encoder, tmp_path, "--fold", "7"))


def test_draws_are_of_both_classes_alike():
    clips = [type("Clip", (), {"label": int(index > 2)})() for index in range(10)]
    maps = audio_maps.Maps((np.zeros((10, 8, 4), np.float16),), (np.ones((10, 8), np.uint8),))
    heard = audio_maps.MapExamples(clips, maps, np.arange(10), np.ones(10))
    assert heard.chances[:3].sum() == pytest.approx(0.5)
    batches = audio_maps.MapBatches(heard, 0.5, 5, np.random.default_rng(0))
    inputs, labels = next(iter(batches))
    assert inputs.shape == (5, 4, 5)
    assert labels.shape == (5,)


def test_scores_of_a_fold_can_be_read_again(tmp_path):
    scores = fit_encoder.Scores(np.array([[0.0, 1.0], [2.0, 0.5]]), np.array([1, 0]), ("a", "b"))
    fit_encoder.write_scores(scores, tmp_path / "left_out.json")
    assert json.loads((tmp_path / "left_out.json").read_text())["labels"] == [1, 0]
