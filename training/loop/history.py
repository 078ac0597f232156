"""The course of a run: one record an epoch, as JSON, as a picture, for TensorBoard, and a line on the terminal."""

from __future__ import annotations

import json
from pathlib import Path
from types import TracebackType

from tqdm import tqdm

from training.loop import distributed
from training.loop.history_plot import plot_history

_SHOWN = {"train loss": "train_loss", "val loss": "val_loss", "val AUC": "val_auc", "val EER": "val_eer"}


class History:
    """Shows what is appended to a list of records; only the first process does.

    Args:
        save_path: of the checkpoint; the files are named after it.
        epochs: of the whole run.
        records: grows by one an epoch, before `update` is called.
        tensorboard: write event files, too.
    """

    def __init__(self, save_path: Path, epochs: int, records: list[dict], tensorboard: bool) -> None:
        self.path = save_path.with_suffix(".history.json")
        self.epochs = epochs
        self.records = records
        self._writer = None
        if tensorboard and distributed.is_main():
            self._writer = _tensorboard_writer(save_path.with_suffix(".tensorboard"), len(records) + 1)

    def __enter__(self) -> History:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if self._writer is not None:
            self._writer.close()

    def update(self, is_best: bool) -> None:
        """Write and show the last record."""
        if not distributed.is_main():
            return
        record = self.records[-1]
        metrics = ", ".join(f"{name} {record[key]:.3f}" for name, key in _SHOWN.items())
        best = " (best)" if is_best else ""
        tqdm.write(f"epoch {record['epoch']}/{self.epochs}: {metrics}, {record['seconds']:.0f} s{best}")
        partial = self.path.with_suffix(".partial")
        partial.write_text(json.dumps(self.records, indent=1) + "\n", encoding="utf-8")
        partial.replace(self.path)
        plot_history(self.records, self.path.with_suffix(".png"))
        if self._writer is not None:
            for name, value in record.items():
                part, _, figure = name.rpartition("_") if name.startswith(("train_", "val_")) else ("run", "", name)
                self._writer.add_scalar(f"{part}/{figure}", value, record["epoch"])
            self._writer.flush()


def _tensorboard_writer(folder: Path, first_epoch: int):
    try:
        from torch.utils.tensorboard import SummaryWriter
    except ImportError:
        tqdm.write(f"no {folder}: TensorBoard is not installed (pip install tensorboard); the JSON is written")
        return None
    return SummaryWriter(folder, purge_step=first_epoch)
