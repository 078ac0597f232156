"""Clips scored as serving scores them, from prepared arrays."""

from __future__ import annotations

from collections.abc import Sequence
from contextlib import suppress
from dataclasses import dataclass

import numpy as np
import torch
from torch import nn
from tqdm import tqdm

from model_defs.errors import DetectionError
from model_defs.preprocessing.audio import audio_sample
from model_defs.preprocessing.audio_features import create_frontend
from model_defs.preprocessing.video import video_tensor
from model_defs.spec import AudioSpec, InputSpec
from training.data.prepared import PreparedClip


@dataclass(frozen=True)
class Scores:
    """The outcome of scoring clips: logits (n, 2) float64, labels (n,), groups (n,), and where each was published."""

    logits: np.ndarray
    labels: np.ndarray
    groups: tuple[str, ...]
    sources: tuple[str, ...] = ()

    @property
    def p_fake(self) -> np.ndarray:
        """P(fake) by softmax, (n,), uncalibrated."""
        return 1.0 / (1.0 + np.exp(np.clip(self.logits[:, 0] - self.logits[:, 1], -50, 50)))

    @property
    def loss(self) -> float:
        """Mean cross-entropy, in nats."""
        p_label = np.where(self.labels == 1, self.p_fake, 1.0 - self.p_fake)
        return float(-np.log(np.clip(p_label, 1e-7, 1.0)).mean())


def score_clips(
    net: nn.Module, clips: Sequence[PreparedClip], spec: InputSpec, device: str = "cpu", *, show_progress: bool = False
) -> Scores:
    """Logits of each clip; those of an audio clip's windows are averaged, as serving does.

    A waveform that serving would refuse (silence) is left out.

    Args:
        net: any variant of a network, in eval mode; (B, T, ...) -> logits (B, 2) and attention.
        clips: prepared with the same spec.
        spec: what the network is fed.
        device: where the network is.
        show_progress: draw a bar on stderr.
    """
    make_inputs = clip_inputs(spec)
    logits, scored = [], []
    with torch.inference_mode():
        for clip in tqdm(clips, desc="score", unit="clip", leave=False, disable=not show_progress):
            try:
                inputs = make_inputs(clip)
            except DetectionError:
                continue
            logits.append(net(inputs.to(device))[0].float().mean(dim=0).cpu().numpy())
            scored.append(clip.clip)
    labels = np.array([clip.label for clip in scored], dtype=int)
    groups, sources = tuple(clip.group for clip in scored), tuple(clip.source for clip in scored)
    return Scores(np.array(logits, dtype=np.float64).reshape(-1, 2), labels, groups, sources)


def clip_inputs(spec: InputSpec):
    """A function from a prepared clip to the network's input: (1, T, 3, S, S) or (windows, steps, features)."""
    if isinstance(spec, AudioSpec):
        frontend = create_frontend(spec)
        return lambda clip: torch.as_tensor(audio_sample(clip.audio_segments(), spec, frontend).features)
    return lambda clip: video_tensor(np.array(clip.array()), spec)[None]


def spread_inputs(clips: Sequence[PreparedClip], spec: InputSpec, n_clips: int) -> list[torch.Tensor]:
    """Network inputs of about `n_clips` whole clips, spread over the list; what serving would refuse is left out."""
    usable = [item for item in clips if isinstance(spec, AudioSpec) or item.n_frames == spec.n_frames]
    make_inputs, inputs = clip_inputs(spec), []
    for item in usable[:: max(1, len(usable) // n_clips)][:n_clips]:
        with suppress(DetectionError):
            inputs.append(make_inputs(item))
    return inputs
