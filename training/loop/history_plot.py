"""The course of a training run as a picture."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from matplotlib.figure import Figure  # without pyplot: no window, no global state

PANELS = {
    "cross-entropy (nats)": {"train": "train_loss", "validation": "val_loss"},
    "on validation clips": {"AUC": "val_auc", "EER": "val_eer"},
}


def plot_history(history: Sequence[dict], path: Path) -> None:
    """Draw losses, AUC and EER by epoch, the best epoch marked, as PNG.

    Args:
        history: one record an epoch, as `training.loop.engine.fit` returns them; at least one.
        path: the file to write.
    """
    epochs = [record["epoch"] for record in history]
    best = max(history, key=lambda record: record["val_auc"])
    figure = Figure(figsize=(9, 3.5), layout="constrained")
    for axes, (title, curves) in zip(figure.subplots(1, len(PANELS)), PANELS.items(), strict=True):
        for label, name in curves.items():
            axes.plot(epochs, [record[name] for record in history], marker="o", markersize=3, label=label)
        axes.axvline(best["epoch"], color="grey", linestyle=":", label=f"kept: epoch {best['epoch']}")
        axes.set(title=title, xlabel="epoch")
        axes.xaxis.get_major_locator().set_params(integer=True)
        axes.legend()
    figure.savefig(path, dpi=120)
