"""The anomaly score: how far an input lies from the train clips, and from how many val clips.

anomaly.safetensors holds the distance, fitted to the train clips, and the distances that val clips have under each
variant, which turn a distance into a percentile. `training.publish --only-ood` fits it alone.
"""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from pathlib import Path

import numpy as np
import torch
from safetensors import safe_open
from safetensors.torch import save
from sklearn.covariance import LedoitWolf
from torch import Tensor, nn
from tqdm import tqdm

from model_defs.errors import DetectionError
from model_defs.networks.artifact import ArtifactError
from model_defs.networks.ood import MahalanobisDistance, with_distance
from model_defs.networks.weights import sha256_of
from model_defs.spec import InputSpec
from training.data.datasets import DatasetError
from training.data.prepared import PreparedClip
from training.evaluation.scores import clip_inputs

ANOMALY_FILE = "anomaly.safetensors"
N_DIRECTIONS = 32  # strong axes of the covariance; on the audio model 16 to 191 told strange sounds equally well
N_PERCENTILES = 101
N_FITTED = 400  # train clips, spread over all, that a distance is fitted to
_META_KEY = "deepdetect"


def fit_distance(net: nn.Module, clips: Sequence[PreparedClip], spec: InputSpec) -> MahalanobisDistance:
    """A distance of what the network's classifier reads of these clips.

    The covariance around the class means is that of Ledoit and Wolf (2004), which is defined for fewer clips than
    features; it is kept as its strongest axes, and one variance for the rest.

    Raises:
        DatasetError: one class has no clip that can be read.
    """
    rows, labels = [], []
    seen: list[Tensor] = []
    hook = net.classifier.register_forward_pre_hook(lambda _, inputs: seen.append(inputs[0].detach()))
    try:
        for clip, _ in _forward_all(net, clips[:: max(1, len(clips) // N_FITTED)], spec, "anomaly, train"):
            vectors = seen.pop().flatten(0, -2)
            rows.append(vectors)
            labels += [clip.clip.label] * len(vectors)
    finally:
        hook.remove()
    if len(set(labels)) < 2:
        raise DatasetError("an anomaly score needs train clips of both classes")
    vectors, labels = torch.cat(rows).double(), torch.tensor(labels)
    means = torch.stack([vectors[labels == label].mean(0) for label in (0, 1)])
    covariance = LedoitWolf(assume_centered=True).fit((vectors - means[labels]).numpy()).covariance_
    variances, axes = (np.flip(part, -1) for part in np.linalg.eigh(covariance))
    n_kept = min(N_DIRECTIONS, len(variances) - 1)
    rest = max(float(variances[n_kept:].mean()), np.finfo(np.float32).tiny)
    scales = np.sqrt(np.maximum(0.0, 1 / rest - 1 / np.maximum(variances[:n_kept], rest)))
    directions = torch.from_numpy((axes[:, :n_kept] * scales).T.copy())
    return MahalanobisDistance(means, directions, 1 / rest)


def clip_distances(
    net: nn.Module, distance: MahalanobisDistance, clips: Sequence[PreparedClip], spec: InputSpec
) -> np.ndarray:
    """The distance of each clip, (n,), as serving takes it: the mean of a sound's windows."""
    scores = [out for _, out in _forward_all(with_distance(net, distance), clips, spec, "anomaly, val")]
    return np.array([float(one[:, 2].mean()) for one in scores])


def _forward_all(net: nn.Module, clips: Sequence[PreparedClip], spec: InputSpec, what: str):
    make_inputs = clip_inputs(spec)
    with torch.inference_mode():
        for clip in tqdm(clips, what, unit="clip", leave=False):
            try:
                inputs = make_inputs(clip)
            except DetectionError:  # silence, which serving refuses
                continue
            yield clip, net(inputs)[0]


def write_anomaly(
    weights_dir: Path,
    variants: Mapping[str, nn.Module],
    train: Sequence[PreparedClip],
    val: Sequence[PreparedClip],
    spec: InputSpec,
) -> MahalanobisDistance:
    """Fit to train clips, measure on val clips, and write `ANOMALY_FILE` beside the weights that are there.

    Args:
        variants: name -> eager network; fp32 is the one that is fitted to.

    Raises:
        DatasetError: see `fit_distance`.
    """
    distance = fit_distance(variants["fp32"], train, spec)
    state = {
        "means": distance.means,
        "directions": distance.directions,
        "precision": torch.tensor([distance.precision]),
    }
    for variant, net in variants.items():
        found = np.percentile(clip_distances(net, distance, val, spec), np.linspace(0, 100, N_PERCENTILES))
        state[f"percentiles.{variant}"] = torch.from_numpy(found).float()
    meta = {"weights_sha256": sha256_of(weights_dir / "model.safetensors")}
    content = save({name: tensor.contiguous() for name, tensor in state.items()}, {_META_KEY: json.dumps(meta)})
    (weights_dir / ANOMALY_FILE).write_bytes(content)
    return distance


def read_anomaly(weights_dir: Path) -> tuple[MahalanobisDistance, dict[str, list[float]]] | None:
    """The distance and the val clips' distances by variant; None where the weights were published without.

    Raises:
        ArtifactError: it was fitted to other weights.
    """
    path = Path(weights_dir) / ANOMALY_FILE
    if not path.exists():
        return None
    with safe_open(path, framework="pt") as file:
        meta = json.loads(file.metadata()[_META_KEY])
        state = {name: file.get_tensor(name) for name in file.keys()}  # noqa: SIM118 - not a dict
    if meta["weights_sha256"] != sha256_of(Path(weights_dir) / "model.safetensors"):
        raise ArtifactError(f"{path} is of other weights; fit it again (python -m training.publish --only-ood)")
    percentiles = {
        name.partition(".")[2]: [round(float(value), 4) for value in tensor]
        for name, tensor in state.items()
        if name.startswith("percentiles.")
    }
    return MahalanobisDistance(state["means"], state["directions"], float(state["precision"])), percentiles
