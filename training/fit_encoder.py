"""Fit an audio network that starts from a pretrained encoder: a classifier first, then the transformer with it.

python -m training.fit_encoder --config audio-accurate --dataset clips/
"""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
from sklearn.linear_model import LogisticRegression
from torch import nn
from tqdm import tqdm

from model_defs.networks.audio_transformer import SpectrumTransformerNet
from model_defs.networks.registry import build_network
from model_defs.networks.weights import load_weights
from model_defs.spec import LABELS, spec_to_dict
from training.cross_validate import system_folds
from training.data.datasets import select
from training.data.prepared import PreparedClip
from training.evaluation.metrics import summarize
from training.evaluation.scores import Scores
from training.fit_audio import Copies, weighted_items
from training.loop import checkpoint
from training.loop.checkpoint import RunError
from training.loop.engine import fit, seed_everything
from training.loop.train_config import TrainConfig
from training.run.config import SETTINGS_SUFFIX, DataConfig, RunConfig, encoder_fit_parser, input_spec
from training.run.lifecycle import command, export, prepared_splits, report
from training.run.options import OptionsParser, Settings
from training.tasks.audio_encoder import load_distillmos
from training.tasks.audio_maps import MapExamples, MapsNet, MapTask, make_maps

EPILOG = """examples:
  the accurate model:
    %(prog)s --config audio-accurate --dataset clips/
  what it is worth on forging systems and publishers that it has not heard, one fold of three:
    %(prog)s --config audio-accurate --dataset clips/ --fold 0

The convolutions stay as they were pretrained: what they make of every clip, of damaged copies of it and of vocoded real
clips is kept beside the prepared clips. A logistic regression over the statistics of all layers starts the classifier
(A. Kumar et al., "Fine-Tuning can Distort Pretrained Features and Underperform Out-of-Distribution", ICLR 2022); then
transformer and classifier are trained on, unless --probe-only leaves it at the regression.
"""
DEFAULTS = {"epochs": 6, "lr": 1e-4, "batch_size": 32, "head_lr_factor": 1.0, "ema_decay": 0.99}


@dataclass(frozen=True)
class EncoderFit(Copies):
    """What the network is fitted to.

    Attributes:
        n_damaged: copies of each clip that are degraded as in training by epochs, beside the clip as it is.
        vocoded_share: weight of vocoded real clips among the fakes, 0 to 1; see `training.augmentation.vocoders`.
        vocoders: that make them.
        seed: of damage and vocoders.
        encoder_weights: the pretrained encoder, `distillmos/weights/distill_mos_v7.pt` of that package.
        penalty: inverse strength of the ridge of the logistic regression (C).
        batch_size: windows in one step.
        shown_share: of a window's steps that training shows at a time, from a random place on.
        start: go on from this checkpoint of the same network instead of the pretrained encoder and a regression.
        probe_only: leave the transformer as it was pretrained.
        fold: leave out this fold of forging systems, publishers and people, and measure on it; none: use all.
    """

    encoder_weights: Path = Path("build/backbones/distillmos/weights/distill_mos_v7.pt")
    penalty: float = 1e-3
    batch_size: int = 32
    shown_share: float = 0.6
    start: Path | None = None
    probe_only: bool = False
    fold: int | None = None


def options() -> OptionsParser:
    """The options of this script."""
    return encoder_fit_parser("fit_encoder", EncoderFit, DEFAULTS, description=__doc__.split("\n\n")[0], epilog=EPILOG)


def main(argv: Sequence[str] | None = None) -> Path:
    """Fit as the arguments say; returns the path of the checkpoint."""
    settings = options().settings(argv)
    run, data, spec = settings.make(RunConfig), settings.make(DataConfig), input_spec(settings)
    if run.device not in (None, "cpu"):
        raise RunError(f"device is {run.device}; maps are made and read on the CPU, so allowed: cpu")
    how, n_workers = settings.make(EncoderFit), max(1, run.workers)
    clips = data.load(data.dataset)
    train, val = prepared_splits(clips, data, spec, n_workers=n_workers)
    seed_everything(run.seed)
    if how.start is None:
        net = build_network(settings["network"]).eval()
        load_distillmos(net, how.encoder_weights)
    else:
        net = load_weights(how.start)[0]
    heard, unheard = examples_of(net, train, val, settings)
    if how.start is None:
        standardize_and_probe(net, heard, how)
    run.save_path.parent.mkdir(parents=True, exist_ok=True)
    run.save_path.with_suffix(SETTINGS_SUFFIX).write_text(settings.to_yaml(), encoding="utf-8")
    record = {"network": settings["network"], "spec": spec_to_dict(spec), "labels": list(LABELS)}
    kept, scores = finetune(net, heard, unheard, record, settings)
    figures = summarize(scores.labels, scores.p_fake, scores.groups, n_resamples=0)
    found = {"val_loss": scores.loss} | {f"val_{name}": one.value for name, one in figures.items()}
    if how.fold is not None:
        shown = ", ".join(f"{name} {figures[name].value:.3f}" for name in ("auc", "eer"))
        print(f"fold {how.fold}: {len(scores.labels)} clips of systems and publishers left out: {shown}")
        write_scores(scores, run.save_path.with_suffix(".left_out.json"))
        return run.save_path
    checkpoint.write({**record, "epoch": settings["epochs"], "val": found, "state": kept.state_dict()}, run.save_path)
    run.save_path.with_suffix(".history.json").write_text(json.dumps([found], indent=1) + "\n", encoding="utf-8")
    report(run.save_path, val, "cpu")
    if run.export:
        export(run.save_path, select(clips, "train", "val"), data.cache, n_workers=n_workers)
    return run.save_path


def examples_of(
    net: SpectrumTransformerNet, train: Sequence[PreparedClip], val: Sequence[PreparedClip], settings: Settings
) -> tuple[MapExamples, MapExamples]:
    """Maps to train on and to validate on; with a fold these are the train clips outside and inside of it.

    Raises:
        RunError: there is no such fold.
    """
    how, spec, n_workers = settings.make(EncoderFit), input_spec(settings), max(1, settings["workers"])
    items = weighted_items(train, how, spec.rate_hz, n_workers)
    more = {"seed": how.seed, "n_workers": n_workers}
    maps = make_maps(net, [item for item, *_ in items], spec, n_damaged=how.n_damaged, **more)
    weights, origins = (np.array([one[column] for one in items]) for column in (1, 2))
    every = MapExamples(tuple(item.clip for item, *_ in items), maps, np.arange(len(items)), weights)
    if how.fold is None:
        own = [(item, 1.0, index) for index, item in enumerate(val)]
        maps = make_maps(net, val, spec, n_damaged=0, **more)
        return every, MapExamples(tuple(item.clip for item in val), maps, np.arange(len(own)), np.ones(len(own)))
    folds = system_folds([item.clip for item in train])
    if how.fold not in range(len(folds)):
        raise RunError(f"fold is {how.fold}; allowed: 0 to {len(folds) - 1}, or none")
    trained, scored = folds[how.fold]
    return every.of(np.flatnonzero(np.isin(origins, trained))), every.of(scored)


def standardize_and_probe(net: SpectrumTransformerNet, heard: MapExamples, how: EncoderFit) -> None:
    """Set the standardization of the statistics and, by logistic regression over them, the classifier."""
    statistics, labels, weights = heard.statistics(net)
    net.standardize.running_mean.copy_(statistics.mean(0))
    net.standardize.running_var.copy_(statistics.var(0))
    points = net.standardized(statistics).numpy()
    model = LogisticRegression(C=how.penalty, max_iter=200).fit(points, labels, sample_weight=weights / weights.mean())
    half = torch.from_numpy(model.coef_ / 2).float()
    with torch.no_grad():
        net.classifier.weight.copy_(torch.cat([-half, half]))
        net.classifier.bias.copy_(torch.tensor([-0.5, 0.5]) * float(model.intercept_[0]))


def finetune(
    net: SpectrumTransformerNet, heard: MapExamples, unheard: MapExamples, record: dict, settings: Settings
) -> tuple[nn.Module, Scores]:
    """Train the transformer and the classifier over the maps, the convolutions aside.

    Returns:
        The network with the averaged weights of the last epoch, and its scores of the clips it did not hear.
    """
    how, run = settings.make(EncoderFit), settings.make(RunConfig)
    task = MapTask(heard, unheard, record, how.shown_share, settings["batch_size"], run.seed)
    if not how.probe_only:
        over_maps = MapsNet(net)
        path = run.save_path.with_suffix(".maps.pt")
        fit(over_maps, task, settings.make(TrainConfig, device="cpu"), path, resume=run.resume)
        last = torch.load(path.with_suffix(".last.pt"), map_location="cpu", weights_only=True)
        over_maps.load_state_dict(last["state"])
    net.eval()
    scores = task.validate(MapsNet(net).eval())
    tqdm.write(f"{len(heard.rows)} examples heard")
    return net, scores


def write_scores(scores: Scores, path: Path) -> None:
    """Logits, labels and groups of clips that were left out: `training.publish --calibration` fits to them."""
    record = {"logits": scores.logits.tolist(), "labels": scores.labels.tolist(), "groups": list(scores.groups)}
    path.write_text(json.dumps(record) + "\n", encoding="utf-8")


if __name__ == "__main__":
    command(main)
