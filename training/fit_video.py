"""Fit the video network over pretrained backbones, which stay as they are.

python -m training.fit_video --dataset clips/ --transformer clip_vit_b16.safetensors --convolutions model.pt
"""

from __future__ import annotations

import json
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

import numpy as np
import torch
from safetensors import SafetensorError
from safetensors.torch import load_file
from sklearn.linear_model import LogisticRegression
from sklearn.metrics import roc_auc_score
from torch import nn
from tqdm import tqdm

from model_defs.networks.registry import NETWORKS, build_network
from model_defs.networks.video import FrameScoreNet
from model_defs.networks.video_joint import JointFeatures
from model_defs.networks.video_transformer import PatchTransformer
from model_defs.networks.weights import load_weights
from model_defs.spec import LABELS, VideoSpec, spec_to_dict
from training.cross_validate import system_folds
from training.data.datasets import Clip, select
from training.data.draws import clip_chances
from training.data.sources import FORMATS
from training.evaluation.metrics import summarize
from training.evaluation.scores import score_clips
from training.loop import checkpoint
from training.loop.checkpoint import RunError
from training.loop.engine import seed_everything
from training.run.config import SETTINGS_SUFFIX, DataConfig, RunConfig, input_spec
from training.run.lifecycle import command, export, prepared_splits, report
from training.run.options import OptionsParser, Section
from training.tasks.video_vectors import AS_IT_IS, PSEUDO_FAKE, Vectors, Views, collect_vectors

N_ITERATIONS = 300

EPILOG = """examples:
  the accurate model; convolutions are those of a trained efficientnet_b0_frames:
    %(prog)s --config video-accurate --dataset clips/ --extra-dataset pictures/ \\
        --transformer build/backbones/clip_vit_b16.safetensors --convolutions weights/video/model.safetensors
  the transformer alone, and what the recipe is worth on sources and systems that it was not shown:
    %(prog)s --network clip_vit_b16_frames --folds 5 --dataset clips/ \\
        --transformer build/backbones/clip_vit_b16.safetensors

There are no epochs: vectors are taken of every frame as it is, of degraded copies and of pseudo-fakes, once, and kept
beside the prepared clips, so that a run that was stopped goes on where it was. Logistic regression over them is solved
at once. `python -m training.clip_encoder` makes the transformer's file. Beside --save-path lies what training leaves,
with a history of one line.
"""


@dataclass(frozen=True)
class BackboneFiles:
    """What is fitted, and to what.

    Attributes:
        network: what to fit.
        transformer: file that training.clip_encoder made.
        convolutions: checkpoint or published weights of an efficientnet_b0_frames; its answers are taken as they are.
    """

    network: str = "clip_efficientnet_b0_frames"
    transformer: Path | None = None
    convolutions: Path | None = None


@dataclass(frozen=True)
class HeadFit:
    """How the classifier is fitted.

    Attributes:
        n_damaged: copies of each frame that are degraded as in training by epochs, beside the frame as it is.
        self_blended: share of real faces of which a pseudo-fake is made, and weight of those among the fakes, 0 to 1.
        h264: share of degraded copies that go through H.264 once more, 0 to 1.
        picture_weight: how much a picture counts compared with a clip.
        c: inverse of the penalty on the classifier's weights (C of logistic regression).
        convolution_share: of the convolutions' logits in the sum, with each scaled to a deviation of one on val.
        folds: also fit to all but the systems and sources of a fold, so many times, and print what is told of those.
        precision: of the backbones while vectors are taken; bf16 where the processor multiplies in it.
        seed: of damage and pseudo-fakes.
    """

    n_damaged: int = 1
    self_blended: float = 0.2
    h264: float = 0.3
    picture_weight: float = 1.0
    c: float = 0.001
    convolution_share: float = 0.5
    folds: int = 0
    precision: Literal["fp32", "bf16"] = "fp32"
    seed: int = 0

    def __post_init__(self) -> None:
        for name in ("self_blended", "h264", "convolution_share"):
            if not 0 <= getattr(self, name) <= 1:
                raise ValueError(f"{name} is {getattr(self, name)}; it must lie in 0 <= x <= 1")
        if self.n_damaged < 0 or not min(self.c, self.picture_weight) > 0 or self.folds < 0 or self.folds == 1:
            raise ValueError(
                "n_damaged must not be negative, c and picture_weight must be above 0, folds 0 or at least 2"
            )


def options() -> OptionsParser:
    """The options of this script."""
    networks = [name for name, network in NETWORKS.items() if (network.backbone or "").startswith("clip")]
    sections = (
        Section("data", DataConfig),
        Section("run", RunConfig),
        Section("model", BackboneFiles),
        Section("fit", HeadFit),
        Section("input of the network", VideoSpec, unset=None),
    )
    return OptionsParser(
        "fit_video",
        sections,
        {"save_path": Path("runs/fit_video/model.pt")},
        {"network": networks, "format": ("auto", *FORMATS)},
        required=("dataset", "transformer"),
        description=__doc__.split("\n\n")[0],
        epilog=EPILOG,
    )


def main(argv: Sequence[str] | None = None) -> Path:
    """Fit as the arguments say; returns the path of the checkpoint."""
    settings = options().settings(argv)
    run, data, how = settings.make(RunConfig), settings.make(DataConfig), settings.make(HeadFit)
    spec = input_spec(settings)
    clips = data.load(data.dataset)
    train, val = prepared_splits(clips, data, spec, n_workers=max(1, run.workers))
    seed_everything(run.seed)
    files = settings.make(BackboneFiles)
    net = joint_network(files)
    views = Views(how.n_damaged, how.self_blended, how.h264, how.seed)
    folder, use_bf16 = data.cache / "vectors", how.precision == "bf16"
    seen = collect_vectors(own_backbone(net), train, spec, views, folder, use_bf16=use_bf16, name="train")
    fitted = Head(net, [item.clip for item in train], seen, how)
    fold_figures = fitted.cross_validate()
    fitted.fit(range(len(train)))
    if files.convolutions:
        as_served = Views(0, 0.0, 0.0, how.seed)
        of_val = collect_vectors(net.backbone, val, spec, as_served, folder, use_bf16=use_bf16, name="val")
        fitted.balance(of_val, how.convolution_share)
    run.save_path.parent.mkdir(parents=True, exist_ok=True)
    run.save_path.with_suffix(SETTINGS_SUFFIX).write_text(settings.to_yaml(), encoding="utf-8")
    scores = score_clips(net, val, spec, show_progress=True)
    figures = summarize(scores.labels, scores.p_fake, scores.groups, n_resamples=0)
    found = {"epoch": 1, "val_loss": scores.loss} | {f"val_{name}": one.value for name, one in figures.items()}
    record = {"network": settings["network"], "spec": spec_to_dict(spec), "labels": list(LABELS), "epoch": 1}
    checkpoint.write({**record, "val": found, "state": net.state_dict()}, run.save_path)
    history = json.dumps([found | fold_figures], indent=1) + "\n"
    run.save_path.with_suffix(".history.json").write_text(history, encoding="utf-8")
    report(run.save_path, val, "cpu")
    if run.export:
        export(run.save_path, select(clips, "train", "val"), data.cache, n_workers=max(1, run.workers))
    return run.save_path


def joint_network(files: BackboneFiles) -> FrameScoreNet:
    """The network with pretrained backbones, in eval mode; its classifier is that of the convolutions, if any.

    Raises:
        RunError: a file is of another network, or is wanted and not there.
    """
    net = build_network(files.network).eval()
    front = net.backbone.features[0]
    is_joint = isinstance(front, JointFeatures)
    if is_joint != bool(files.convolutions):
        wanted = "wants --convolutions, a checkpoint of efficientnet_b0_frames" if is_joint else "has no convolutions"
        raise RunError(f"{files.network} {wanted}")
    _load_transformer(front.transformer if is_joint else front, files.transformer)
    nn.init.zeros_(net.classifier[1].weight)
    nn.init.zeros_(net.classifier[1].bias)
    if is_joint:
        donor, record = load_weights(files.convolutions)
        if record["network"] != "efficientnet_b0_frames":
            raise RunError(f"{files.convolutions} is a {record['network']}; convolutions are of efficientnet_b0_frames")
        front.convolutions.load_state_dict(donor.backbone.features.state_dict())
        with torch.no_grad():
            net.classifier[1].weight[:, -donor.backbone.n_features :] = donor.classifier[1].weight
            net.classifier[1].bias.copy_(donor.classifier[1].bias)
    return net


def own_backbone(net: FrameScoreNet) -> nn.Module:
    """What the classifier is fitted to: the transformer, averaged over patches, (N, 3, S, S) -> (N, n_features)."""
    front = net.backbone.features[0]
    transformer = front.transformer if isinstance(front, JointFeatures) else front
    return nn.Sequential(transformer, nn.AdaptiveAvgPool2d(1), nn.Flatten()).eval()


def _load_transformer(transformer: PatchTransformer, path: Path) -> None:
    prefix = "features.0."
    try:
        state = {name.removeprefix(prefix): tensor for name, tensor in load_file(path).items()}
        transformer.load_state_dict(state)
    except (OSError, SafetensorError, RuntimeError) as error:
        reason = str(error).splitlines()[0]
        raise RunError(f"{path} is no file that training.clip_encoder made for this network: {reason}") from None


class Head:
    """The classifier of a network, fitted to vectors.

    Args:
        net: its weights are set.
        clips: that the vectors are of.
        vectors: of the train clips.
        how: the fit.
    """

    def __init__(self, net: FrameScoreNet, clips: Sequence[Clip], vectors: Vectors, how: HeadFit) -> None:
        self.net, self.clips, self.vectors, self.how = net, clips, vectors, how
        front = net.backbone.features[0]
        self.n_own = 2 * (front.transformer if isinstance(front, JointFeatures) else front).width
        self.chances = clip_chances(clips) * np.where([clip.is_image for clip in clips], how.picture_weight, 1.0)

    def fit(self, indices: Iterable[int]) -> None:
        """Logistic regression on the transformer's vectors of some clips; sets the classifier's weights of them."""
        rows = np.flatnonzero(np.isin(self.vectors.clips, list(indices)))
        points, labels = self.vectors.values[rows, : self.n_own], self._labels(rows)
        centre, spread = points.mean(0), points.std(0) + 1e-6
        machine = LogisticRegression(C=self.how.c, max_iter=N_ITERATIONS, tol=1e-3)
        machine.fit((points - centre) / spread, labels, sample_weight=self._weights(rows, labels))
        self._set(machine.coef_[0] / spread, float(machine.intercept_[0] - machine.coef_[0] @ (centre / spread)))

    def logits(self, vectors: Vectors, part: str) -> np.ndarray:
        """Log-odds of fake of each clip by `own` or `convolutions` alone: means of its frames as they are, (n,)."""
        weight = self.net.classifier[1].weight.detach().double().numpy()
        parts = {"own": slice(0, self.n_own), "convolutions": slice(self.n_own, None)}
        rows = np.flatnonzero(vectors.kinds == AS_IT_IS)
        odds = vectors.values[rows, parts[part]].astype(np.float64) @ (weight[1] - weight[0])[parts[part]]
        return np.bincount(vectors.clips[rows], odds) / np.bincount(vectors.clips[rows])

    def balance(self, vectors: Vectors, share: float) -> None:
        """Scale both parts so that their logits deviate by 2 (1 - share) and 2 share over the clips of `vectors`."""
        classifier = self.net.classifier[1]
        with torch.no_grad():
            for part, wanted, columns in (
                ("own", 2 * (1 - share), slice(0, self.n_own)),
                ("convolutions", 2 * share, slice(self.n_own, None)),
            ):
                odds = self.logits(vectors, part)
                classifier.weight[:, columns] *= wanted / max(float(odds.std()), 1e-9)
            centre = float(np.mean(self.logits(vectors, "own") + self.logits(vectors, "convolutions")))
            classifier.bias.copy_(torch.tensor([centre / 2, -centre / 2]))

    def cross_validate(self) -> dict[str, float]:
        """AUC by the transformer on systems and sources that were held out; printed, and {} where none is asked for."""
        found = []
        for number, (trained, scored) in enumerate(system_folds(self.clips, self.how.folds) if self.how.folds else ()):
            self.fit(trained)
            labels = np.array([self.clips[index].label for index in scored])
            if len(set(labels)) == 2:
                found.append(roc_auc_score(labels, self.logits(self.vectors, "own")[scored]))
                tqdm.write(f"fold {number + 1}: {len(trained)} trained on, {len(scored)} scored, AUC {found[-1]:.3f}")
        if not found:
            return {}
        error = float(np.std(found, ddof=1) / len(found) ** 0.5) if len(found) > 1 else float("nan")
        print(f"systems and sources held out: AUC {np.mean(found):.3f}, standard error {error:.3f}, {len(found)} folds")
        return {"folds_auc": float(np.mean(found)), "folds_auc_error": error}

    def _labels(self, rows: np.ndarray) -> np.ndarray:
        own = np.array([clip.label for clip in self.clips])[self.vectors.clips[rows]]
        return np.where(self.vectors.kinds[rows] == PSEUDO_FAKE, 1, own)

    def _weights(self, rows: np.ndarray, labels: np.ndarray) -> np.ndarray:
        """Both classes weigh alike, pseudo-fakes have their share of the fakes, and a clip's views share its chance."""
        of_clip, is_made = self.vectors.clips[rows], self.vectors.kinds[rows] == PSEUDO_FAKE
        n_views = np.bincount(2 * of_clip + is_made, minlength=2 * len(self.clips))
        weights = self.chances[of_clip] / n_views[2 * of_clip + is_made]
        share = self.how.self_blended if is_made.any() else 0.0
        for chosen, wanted in ((labels == 0, 1.0), ((labels == 1) & ~is_made, 1.0 - share), (is_made, share)):
            weights[chosen] *= wanted / (weights[chosen].sum() or 1.0)
        return weights / weights.mean()

    def _set(self, coefficients: np.ndarray, intercept: float) -> None:
        classifier = self.net.classifier[1]
        half = torch.from_numpy(coefficients / 2).float()
        with torch.no_grad():
            classifier.weight[:, : self.n_own] = torch.stack([-half, half])
            if self.n_own == classifier.in_features:
                classifier.bias.copy_(torch.tensor([-intercept / 2, intercept / 2]))


if __name__ == "__main__":
    command(main)
