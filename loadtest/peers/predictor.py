"""What every peer runs: the engine of our archives, on raw bodies, with nothing remembered.

The programs of this package that serve are the one place under `loadtest` that imports `model_defs`: they stand where
our handlers stand. Whatever sends load, here as elsewhere, knows only the wire.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Sequence
from pathlib import Path

import cv2
import torch
import yaml

from loadtest.peers.tiny_handler import NET_FILE, tiny_answers
from loadtest.peers.workload import MODALITIES, PROJECT_DIR, Serving, serving_of
from model_defs.errors import DetectionError
from model_defs.inference.engine import Item, load_engine
from model_defs.inference.settings import EngineSettings
from model_defs.limits import Limits

Judge = Callable[[Sequence[bytes]], list[str]]


def open_judge(model: str, directory: Path) -> tuple[Judge, Serving]:
    """Bodies in, JSON answers out, and the settings that our archive of the model has.

    Args:
        model: `tiny`, `video`, `audio` or `ensemble`.
        directory: holds the tiny network; the others are the project's own artifacts.
    """
    serving = serving_of(model)
    torch.set_num_threads(1)  # as a worker does
    cv2.setNumThreads(1)
    if model == "tiny":
        net = torch.jit.load(directory / NET_FILE)
        return lambda bodies: tiny_answers(net, bodies), serving
    handler = yaml.safe_load((PROJECT_DIR / "config" / f"{model}.yaml").read_text())["handler"]
    chosen = {name: handler[name] for name in ("decode_threads", "fusion_weights") if name in handler}
    settings = EngineSettings(limits=Limits.from_dict(handler["limits"]), **chosen)
    engine = load_engine(
        {modality: PROJECT_DIR / "build" / "artifacts" / modality for modality in MODALITIES[model]},
        name=model,
        device="cpu",
        variant=handler["variant"],
        cache=None,
        settings=settings,
    )
    engine.warm_up()

    def judge(bodies: Sequence[bytes]) -> list[str]:
        answers = engine.detect_batch([Item(body) for body in bodies])
        return [json.dumps(answer.to_dict() if isinstance(answer, DetectionError) else answer) for answer in answers]

    return judge, serving
