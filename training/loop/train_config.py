"""The settings of the training loop."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

import torch


@dataclass(frozen=True)
class TrainConfig:
    """What the loop needs to know; the same for every modality.

    Attributes:
        epochs: passes over as many draws as there are training clips.
        lr: peak learning rate of what starts from pretrained weights, or of everything.
        head_lr_factor: the other parameters learn this many times as fast.
        weight_decay: AdamW's; matrices and kernels alone decay.
        warmup_share: share of all steps in which the rate rises linearly.
        schedule: what follows: a half cosine down to zero, or the peak rate until a plateau of validation AUC.
        plateau_patience: epochs without a better one after which the rate falls, with schedule plateau.
        plateau_factor: by which it then falls.
        patience: epochs without a better one that end the run early; 0: never.
        ema_decay: of the running mean of the weights, which is then validated and kept, such as 0.999; 0: none.
        label_smoothing: share of each label given to the other class.
        clip_norm: ceiling of the gradient's norm.
        precision: of the forward pass; auto is bf16 or, on older ones, fp16 with a scaled loss on GPUs, fp32 on CPUs.
        seed: of everything random.
        device: a torch device.
    """

    epochs: int = 20
    lr: float = 1e-3
    head_lr_factor: float = 1.0
    weight_decay: float = 1e-2
    warmup_share: float = 0.1
    schedule: Literal["cosine", "plateau"] = "cosine"
    plateau_patience: int = 3
    plateau_factor: float = 0.3
    patience: int = 0
    ema_decay: float = 0.0
    label_smoothing: float = 0.05
    clip_norm: float = 1.0
    precision: Literal["auto", "fp32", "bf16", "fp16"] = "auto"
    seed: int = 0
    device: str = "cpu"

    def __post_init__(self) -> None:
        for name in ("epochs", "lr", "head_lr_factor", "clip_norm", "plateau_patience", "plateau_factor"):
            if not getattr(self, name) > 0:
                raise ValueError(f"{name} is {getattr(self, name)}; it must be above 0")
        for name in ("warmup_share", "label_smoothing", "ema_decay"):
            if not 0 <= getattr(self, name) < 1:
                raise ValueError(f"{name} is {getattr(self, name)}; it must lie in 0 <= x < 1")
        for name in ("patience", "weight_decay"):
            if getattr(self, name) < 0:
                raise ValueError(f"{name} is {getattr(self, name)}; it must not be negative")
        for name, allowed in {"schedule": ("cosine", "plateau"), "precision": ("auto", "fp32", "bf16", "fp16")}.items():
            if getattr(self, name) not in allowed:
                raise ValueError(f"{name} is {getattr(self, name)!r}; allowed: {', '.join(allowed)}")

    @property
    def autocast_dtype(self) -> torch.dtype | None:
        """What the forward pass computes in; None for fp32 throughout."""
        if self.precision == "auto":
            if torch.device(self.device).type != "cuda":
                return None
            return torch.bfloat16 if torch.cuda.is_bf16_supported(including_emulation=False) else torch.float16
        return {"fp32": None, "bf16": torch.bfloat16, "fp16": torch.float16}[self.precision]
