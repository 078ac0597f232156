"""What a verdict rests on: which frames, which part of the face, which moment of the sound.

    effect     p_fake less what it is when that frame, window or stretch is left out; above 0 it speaks for fake
    heatmap    first-order share of each cell in the log-odds of fake, by gradients through the fp32 variant

Video: the network is run up to the backbone's last feature maps once; what comes after is so small that every
question about frames is asked of it directly. The map of a frame is gradient times activation, summed over
channels: R. Draelos and L. Carin, "Use HiResCAM instead of Grad-CAM" (2020). As the maps are averaged over space
before anything else, R. Selvaraju et al., "Grad-CAM" (2017), gives the same here, without the sign.

Audio: moments are judged by covering them up (M. Zeiler and R. Fergus, "Visualizing and Understanding
Convolutional Networks", 2014): a stretch is replaced by the window's mean. Gradient times input serves for the
single features, but not summed over a moment: the network normalises each moment's features, so that sum is zero.
"""

from __future__ import annotations

import itertools
from collections.abc import Callable, Iterator
from contextlib import contextmanager

import numpy as np
import torch
from torch import Tensor

from model_defs.calibration import DIGITS, Calibration, rounded
from model_defs.errors import ModelLoadError
from model_defs.explanation.heatmap import MAX_TILES, contact_sheet, overlay, paint
from model_defs.networks.artifact import Artifact
from model_defs.preprocessing.audio import AudioSample
from model_defs.preprocessing.video import VideoSample, video_tensor
from model_defs.spec import AudioSpec

STRETCH_S = 0.5  # a short word


def explain_video(artifact: Artifact, sample: VideoSample, calibration: Calibration, parts: tuple[str, ...]) -> dict:
    """The `explanation.video` of an answer.

    Args:
        artifact: the fp32 variant; its module has `feature_maps` and `judge_maps` (see VideoNet).
        parts: of `EXPLANATION_PARTS`.

    Raises:
        ModelLoadError: the artifact cannot be run in two parts.
    """
    feature_maps, judge_maps = (_method(artifact, name) for name in ("feature_maps", "judge_maps"))
    with _unspecialised():
        with torch.no_grad():
            maps = feature_maps(video_tensor(sample.crops, artifact.spec)[None].to(artifact.device))
        record: dict = {"variant": artifact.variant}
        if "scores" in parts:
            record |= _frame_scores(judge_maps, maps, sample, calibration)
        if "heatmap" in parts:
            record["heatmap"] = _face_heatmap(video_cells(judge_maps, maps, calibration), sample)
    return record


def video_cells(judge_maps: Callable, maps: Tensor, calibration: Calibration) -> np.ndarray:
    """Share of each cell in the log-odds of fake: maps (1, T, C, h, w) -> (T, h, w); above 0 it speaks for fake."""
    maps = maps.detach().clone().requires_grad_()
    logits, _ = judge_maps(maps)
    (gradient,) = torch.autograd.grad(_log_odds(logits, calibration), maps)
    return (gradient * maps).sum(2)[0].detach().cpu().numpy()


def _frame_scores(judge_maps: Callable, maps: Tensor, sample: VideoSample, calibration: Calibration) -> dict:
    n_frames = maps.shape[1]
    # Averaged over space, which is what the network does first, they are 1/25 of the size or less.
    vectors = maps.mean((3, 4), keepdim=True)[0]
    with torch.no_grad():
        logits, attention = judge_maps(maps)
        alone, _ = judge_maps(vectors[:, None])
        p_fake = _p_fake(logits, calibration)[0]
        effect = None
        if n_frames > 1:
            others = torch.arange(n_frames).expand(n_frames, -1)[~torch.eye(n_frames, dtype=torch.bool)]
            without, _ = judge_maps(vectors[others.view(n_frames, n_frames - 1)])
            effect = rounded(p_fake - _p_fake(without, calibration))
    return {
        "p_fake": round(float(p_fake), DIGITS),
        "frame_times_s": [round(float(time_s), 3) for time_s in sample.times_s],
        "frame_p_fake": rounded(_p_fake(alone, calibration)),
        "frame_effect": effect,
        "attention": rounded(attention[0].cpu().numpy()),
    }


def _face_heatmap(cells: np.ndarray, sample: VideoSample) -> dict:
    weights = np.abs(cells).sum((1, 2))
    shown = np.sort(np.argsort(-weights, kind="stable")[:MAX_TILES])
    full_scale = float(np.abs(cells).max())
    return {
        **contact_sheet(overlay(sample.crops[shown], cells[shown], full_scale)),
        "frames": shown.tolist(),
        "full_scale_log_odds": round(full_scale, DIGITS),
    }


def audio_scores(artifact: Artifact, sample: AudioSample, calibration: Calibration) -> dict:
    """The numbers of `explanation.audio`.

    Args:
        artifact: the fp32 variant: int8 rounds by what else is in the batch, and hides small effects in it.
    """
    features = torch.as_tensor(sample.features)
    edges = stretch_edges(features.shape[1], artifact.spec)
    with _unspecialised():
        logits, attention = artifact.forward(features)
        covered = [artifact.forward(cover_each(window, edges))[0] for window in features]
    p_fake = _p_fake(logits.mean(0, keepdim=True), calibration)[0]
    window_p_fake = _p_fake(logits, calibration)
    effect = None
    if len(logits) > 1:
        without = (logits.sum(0) - logits) / (len(logits) - 1)
        effect = rounded(p_fake - _p_fake(without, calibration))
    stretches = [own - _p_fake(each, calibration) for own, each in zip(window_p_fake, covered, strict=True)]
    return {
        "p_fake": round(float(p_fake), DIGITS),
        "window_starts_s": [round(float(start_s), 3) for start_s in sample.starts_s],
        "window_p_fake": rounded(window_p_fake),
        "window_effect": effect,
        "stretch_s": round(artifact.spec.window_s / (len(edges) - 1), 6),
        "stretch_effect": [rounded(effects) for effects in stretches],
        "step_s": round(artifact.spec.window_s / features.shape[1], 6),
        "attention": [rounded(weights) for weights in attention.numpy()],
    }


def audio_heatmap(artifact: Artifact, sample: AudioSample, calibration: Calibration) -> dict:
    """The `explanation.audio.heatmap`: a picture a window, time to the right, the network's features upwards.

    Args:
        artifact: the fp32 variant.
    """
    cells = audio_cells(artifact, torch.as_tensor(sample.features), calibration)[:MAX_TILES]
    full_scale = float(np.quantile(np.abs(cells), 0.99))  # a few cells would leave the rest white
    return {
        **contact_sheet(paint(cells.transpose(0, 2, 1), full_scale)),
        "windows": list(range(len(cells))),
        "full_scale_log_odds": round(full_scale, DIGITS),
    }


def audio_cells(artifact: Artifact, features: Tensor, calibration: Calibration) -> np.ndarray:
    """Share of each feature in the log-odds of its window: (W, T, F) -> (W, T, F); above 0 it speaks for fake."""
    gradients = []
    with _unspecialised():
        for window in features:  # one at a time: the pass back holds every step's state
            window = window[None].to(artifact.device).detach().clone().requires_grad_()
            logits, _ = artifact.module(window)
            gradients.append(torch.autograd.grad(_log_odds(logits, calibration), window)[0])
    return (torch.cat(gradients).cpu() * features).numpy()


def stretch_edges(n_steps: int, spec: AudioSpec) -> list[int]:
    """Steps at which the stretches of a window of `n_steps` start, and the end: of `STRETCH_S` each, or as near."""
    n_stretches = max(1, min(n_steps, round(spec.window_s / STRETCH_S)))
    return np.linspace(0, n_steps, n_stretches + 1).round().astype(int).tolist()


def cover_each(window: Tensor, edges: list[int]) -> Tensor:
    """A window (T, F) once for each stretch, with that stretch at the window's mean: (len(edges) - 1, T, F)."""
    covered = window.repeat(len(edges) - 1, 1, 1)
    for index, (start, end) in enumerate(itertools.pairwise(edges)):
        covered[index, start:end] = window.mean(0)
    return covered


@contextmanager
def _unspecialised() -> Iterator[None]:
    """TorchScript as written, which neither learns from these odd passes nor depends on how many were before."""
    # cudnn's recurrent layers have no gradient in eval mode; torch's own have.
    with torch.jit.optimized_execution(False), torch.backends.cudnn.flags(enabled=False):
        yield


def _method(artifact: Artifact, name: str) -> Callable:
    if not hasattr(artifact.module, name):
        raise ModelLoadError(f"this artifact has no {name!r}: export the model again")
    return getattr(artifact.module, name)


def _log_odds(logits: Tensor, calibration: Calibration) -> Tensor:
    """Log-odds of fake, summed over the batch, whose rows do not touch one another; their gradient is what is asked."""
    return ((logits[:, 1] - logits[:, 0]) / calibration.temperature).sum()


def _p_fake(logits: Tensor, calibration: Calibration) -> np.ndarray:
    return calibration.p_fake(logits.float().cpu().numpy())
