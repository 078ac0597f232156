"""The loop learns, keeps the best epoch, and goes on after a kill as if there had been none."""

from __future__ import annotations

import json
import sys
from dataclasses import replace

import numpy as np
import pytest
import torch
from torch import nn

from model_defs.networks.registry import NETWORKS
from model_defs.spec import LABELS, spec_to_dict
from training.evaluation.scores import Scores
from training.loop import engine
from training.loop.engine import fit
from training.loop.train_config import TrainConfig

CONFIG = TrainConfig(epochs=4, lr=0.05, warmup_share=0.1)


class TinyNet(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.layers = nn.Sequential(nn.Linear(3, 8), nn.Dropout(0.2), nn.ReLU(), nn.Linear(8, 2))

    def forward(self, x: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
        """(B, T, 3) -> logits (B, 2), attention (B, T)."""
        return self.layers(x).mean(1), torch.full(x.shape[:2], 1 / x.shape[1])


class TinyTask:
    """The label is the sign of the first value; dies before epoch `dies_in`."""

    def __init__(self, dies_in: int | None = None) -> None:
        self.dies_in = dies_in
        self.record = {
            "network": "mfcc_bigru",
            "spec": spec_to_dict(NETWORKS["mfcc_bigru"].spec),
            "labels": list(LABELS),
        }

    def clips(self, n_clips: int, seed) -> tuple[torch.Tensor, torch.Tensor]:
        x = torch.from_numpy(np.random.default_rng(seed).normal(0, 1, (n_clips, 1, 3)).astype(np.float32))
        return x, (x[:, 0, 0] > 0).long()

    def batches(self, epoch: int) -> list[tuple[torch.Tensor, torch.Tensor]]:
        if epoch == self.dies_in:
            raise KeyboardInterrupt
        return [self.clips(16, [epoch, step]) for step in range(5)]

    def validate(self, net: nn.Module, part: slice = slice(None)) -> Scores:
        x, labels = (values[part] for values in self.clips(50, 99))
        with torch.no_grad():
            logits = net(x)[0].double().numpy()
        return Scores(logits, labels.numpy(), tuple(map(str, range(50)))[part])

    def set_training(self, net: nn.Module) -> None:
        net.train()


def make_net() -> TinyNet:
    torch.manual_seed(0)
    return TinyNet()


def without_time(history: list[dict]) -> list[dict]:
    return [{name: value for name, value in record.items() if name != "seconds"} for record in history]


def test_loss_falls_and_the_best_epoch_is_kept(tmp_path):
    path = tmp_path / "model.pt"
    history = fit(make_net(), TinyTask(), CONFIG, path)
    assert history[-1]["train_loss"] < history[0]["train_loss"]
    assert history[-1]["val_auc"] > 0.9
    kept = torch.load(path, weights_only=True)
    assert kept["val"]["val_auc"] == max(record["val_auc"] for record in history)
    assert set(kept) >= {"network", "spec", "labels", "epoch", "state"}
    assert json.loads((tmp_path / "model.history.json").read_text()) == history


def test_resumed_run_gives_the_same_history_and_weights(tmp_path):
    whole = make_net()
    expected = fit(whole, TinyTask(), CONFIG, tmp_path / "whole.pt")
    with pytest.raises(KeyboardInterrupt):
        fit(make_net(), TinyTask(dies_in=2), CONFIG, tmp_path / "killed.pt")
    torch.manual_seed(123)
    resumed = TinyNet()
    history = fit(resumed, TinyTask(), CONFIG, tmp_path / "killed.pt", resume=True)
    assert without_time(history) == without_time(expected)
    for name, tensor in whole.state_dict().items():
        assert torch.equal(tensor, resumed.state_dict()[name]), name


def test_average_of_the_weights_is_what_is_kept(tmp_path):
    net = make_net()
    fit(net, TinyTask(), replace(CONFIG, ema_decay=0.9, epochs=1), tmp_path / "model.pt")
    last = torch.load(tmp_path / "model.last.pt", weights_only=True)
    assert torch.equal(last["raw_state"]["layers.0.weight"], net.layers[0].weight)
    assert not torch.equal(last["raw_state"]["layers.0.weight"], last["state"]["layers.0.weight"])


def test_average_by_hand():
    net = nn.Linear(1, 1, bias=False)
    average = engine._average(net, replace(CONFIG, ema_decay=0.4))
    expected = 0.0
    for n, weight in enumerate((2.0, 4.0, 6.0, 8.0)):
        nn.init.constant_(net.weight, weight)
        average.update_parameters(net)
        decay = [0.0, 2 / 11, 3 / 12, 4 / 13][n]
        expected = decay * expected + (1 - decay) * weight
    assert average.module.weight.item() == pytest.approx(expected)


def test_run_without_progress_ends_early_and_stays_so(tmp_path, capsys):
    task = TinyTask()
    scores = task.validate(make_net())
    task.validate = lambda net, part: scores
    config = replace(CONFIG, epochs=9, patience=2)
    history = fit(make_net(), task, config, tmp_path / "model.pt")
    assert [record["epoch"] for record in history] == [1, 2, 3]
    assert "ends early" in capsys.readouterr().out
    assert fit(make_net(), task, config, tmp_path / "model.pt", resume=True) == history


def test_plateau_schedule_learns_too(tmp_path):
    history = fit(make_net(), TinyTask(), replace(CONFIG, schedule="plateau"), tmp_path / "model.pt")
    assert history[-1]["train_loss"] < history[0]["train_loss"]


def test_half_precision_is_close_to_full(tmp_path):
    full, half = (
        fit(make_net(), TinyTask(), replace(CONFIG, epochs=1, precision=precision), tmp_path / f"{precision}.pt")
        for precision in ("fp32", "bf16")
    )
    assert half[0]["train_loss"] != full[0]["train_loss"]
    assert half[0]["train_loss"] == pytest.approx(full[0]["train_loss"], rel=0.02)
    assert replace(CONFIG, precision="auto").autocast_dtype is None  # on a CPU
    with pytest.raises(engine.RunError, match="allowed here: auto, fp32, bf16"):
        fit(make_net(), TinyTask(), replace(CONFIG, precision="fp16"), tmp_path / "model.pt")
    on_gpu = replace(CONFIG, precision="fp16", device="cuda")
    assert on_gpu.autocast_dtype is torch.float16


def test_history_for_tensorboard_says_what_the_json_says(tmp_path):
    accumulator = pytest.importorskip("tensorboard.backend.event_processing.event_accumulator")
    history = fit(make_net(), TinyTask(), replace(CONFIG, epochs=2), tmp_path / "model.pt", tensorboard=True)
    events = accumulator.EventAccumulator(str(tmp_path / "model.tensorboard"))
    events.Reload()
    assert [event.step for event in events.Scalars("val/auc")] == [1, 2]
    written = [event.value for event in events.Scalars("train/loss")]
    assert written == pytest.approx([record["train_loss"] for record in history])


def test_missing_tensorboard_is_told_and_no_error(tmp_path, monkeypatch, capsys):
    monkeypatch.setitem(sys.modules, "torch.utils.tensorboard", None)
    fit(make_net(), TinyTask(), replace(CONFIG, epochs=1), tmp_path / "model.pt", tensorboard=True)
    assert "pip install tensorboard" in capsys.readouterr().out


def test_another_run_is_not_resumed(tmp_path):
    fit(make_net(), TinyTask(), replace(CONFIG, lr=CONFIG.lr / 2), tmp_path / "model.pt")
    with pytest.raises(ValueError, match="of another run"):
        fit(make_net(), TinyTask(), CONFIG, tmp_path / "model.pt", resume=True)


def test_seed_decides_the_run(tmp_path):
    runs = [fit(make_net(), TinyTask(), replace(CONFIG, seed=seed), tmp_path / f"{seed}.pt") for seed in (0, 0, 1)]
    losses = [[record["train_loss"] for record in run] for run in runs]
    assert losses[0] == losses[1] != losses[2]


def test_diverged_loss_is_an_error(tmp_path):
    net = make_net()
    with torch.no_grad():
        net.layers[0].weight.fill_(float("nan"))
    with pytest.raises(FloatingPointError, match="lower --lr"):
        fit(net, TinyTask(), CONFIG, tmp_path / "model.pt")


@pytest.mark.parametrize(
    "wrong", [{"epochs": 0}, {"lr": -1.0}, {"label_smoothing": 1.0}, {"schedule": "step"}, {"precision": "half"}]
)
def test_config_is_checked(wrong):
    with pytest.raises(ValueError, match=next(iter(wrong))):
        TrainConfig(**wrong)


def test_scores_by_hand():
    scores = Scores(np.array([[0.0, 0.0], [0.0, np.log(3.0)]]), np.array([0, 1]), ("a", "b"))
    assert scores.p_fake == pytest.approx([0.5, 0.75])
    assert scores.loss == pytest.approx(-(np.log(0.5) + np.log(0.75)) / 2)
