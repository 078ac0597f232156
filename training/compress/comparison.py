"""What compression changed: metrics, size, time and verdicts of networks side by side; the first is the reference."""

from __future__ import annotations

import io
import json
import statistics
import zipfile
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path

import numpy as np
import torch
from rich.table import Table
from sklearn import config_context
from sklearn.metrics import roc_auc_score
from torch import nn

from model_defs.calibration import Calibration
from model_defs.spec import InputSpec
from training.evaluation.calibration import NoBetterThanChanceError, fit_calibration
from training.evaluation.metrics import Estimate, summarize
from training.evaluation.scores import Scores, clip_inputs, score_clips
from training.exporting.measurement import describe_machine, difference, interleaved_ms
from training.exporting.variants import build_variant, round_floats, script, serialize
from training.run.lifecycle import Prepared

N_REPEATS = 31  # forward passes timed, in turns
N_RESAMPLES = 1_000


@dataclass(frozen=True)
class Entry:
    """A network to be compared.

    Attributes:
        name: in the table.
        net: eager, in eval mode; quantized or not.
        spec: what it is fed.
        val: the same clips for all entries, prepared for that spec.
        weights_of: name of an earlier entry with the same weights, whose calibration it is then served with.
    """

    name: str
    net: nn.Module
    spec: InputSpec
    val: Prepared
    weights_of: str | None = None


@dataclass(frozen=True)
class Row:
    """What one network is worth. Differences are from the first row.

    Attributes:
        name: of the entry.
        auc: ROC-AUC on val.
        eer: equal error rate on val.
        auc_change: of the AUC, with the interval of the paired bootstrap over groups; 0 for the first row.
        size_bytes: of the TorchScript file that would be served, which is deflated.
        inflated_bytes: of what is in it: about what it takes in memory.
        zeros: share of the convolution and linear weights that are exactly zero; None where they are int8.
        forward_ms: median for one clip (video) or window (audio), one after the other, as TorchScript.
        max_abs_diff: largest difference of the calibrated p_fake of a val clip.
        agreement: share of val clips with the same verdict.
    """

    name: str
    auc: Estimate
    eer: Estimate
    auc_change: Estimate
    size_bytes: int
    inflated_bytes: int
    zeros: float | None
    forward_ms: float
    max_abs_diff: float
    agreement: float


def compare(entries: Sequence[Entry], n_repeats: int = N_REPEATS) -> list[Row]:
    """Score, time and weigh the networks as they would be served: scripted, frozen, on the CPU."""
    served = {entry.name: as_served(entry.net) for entry in entries}
    files = {name: serialize(module, {}) for name, module in served.items()}
    scores = {e.name: score_clips(served[e.name], e.val, e.spec, show_progress=True) for e in entries}
    runs = {entry.name: _one_pass(served[entry.name], entry) for entry in entries}
    with torch.inference_mode():
        times_ms = interleaved_ms(runs, n_repeats)
    first, calibrations, rows = scores[entries[0].name], {}, []
    for entry in entries:
        own = scores[entry.name]
        calibration = calibrations.get(entry.weights_of) or _calibration(own)
        calibrations[entry.name] = calibration
        p_fake = calibration.p_fake(own.logits)
        reference = calibrations[entries[0].name].p_fake(first.logits)
        gap = difference(torch.as_tensor(reference), torch.as_tensor(p_fake))
        metrics = summarize(own.labels, p_fake, own.groups, measures=("auc", "eer"))
        rows.append(
            Row(
                entry.name,
                metrics["auc"],
                metrics["eer"],
                auc_change(first, own),
                len(files[entry.name]),
                _inflated_bytes(files[entry.name]),
                share_of_zeros(entry.net),
                statistics.median(times_ms[entry.name]),
                gap.max_abs,
                gap.agreement,
            )
        )
    return rows


def as_served(net: nn.Module) -> torch.jit.ScriptModule:
    """Scripted and frozen, batch norms folded, as `training.export` does it."""
    if share_of_zeros(net) is None:
        return round_floats(torch.jit.freeze(script(net.eval())))
    return build_variant(net, "fp32", Path())


def share_of_zeros(net: nn.Module) -> float | None:
    """Of the weights of convolutions, recurrent and linear layers; None where some of them are int8."""
    modules = list(net.modules())
    if any("quantized" in type(module).__module__ for module in modules):
        return None
    weights = [parameter for parameter in net.parameters() if parameter.dim() > 1]
    n_zero = sum(int((weight == 0).sum()) for weight in weights)
    return n_zero / max(1, sum(weight.numel() for weight in weights))


def auc_change(before: Scores, after: Scores, seed: int = 0) -> Estimate:
    """AUC after minus before, with a 95 % interval: groups are resampled, the same ones for both."""
    if before.groups != after.groups:  # a front end refused a clip that the other one took
        raise ValueError("both must have scored the same clips")
    members = _members(before.groups)
    rng, drawn = np.random.default_rng(seed), []
    labels = before.labels
    p_before, p_after = before.p_fake, after.p_fake
    with config_context(assume_finite=True, skip_parameter_validation=True):
        for _ in range(N_RESAMPLES):
            picked = np.concatenate([members[i] for i in rng.integers(len(members), size=len(members))])
            if len(np.unique(labels[picked])) == 2:
                drawn.append(_auc(labels[picked], p_after[picked]) - _auc(labels[picked], p_before[picked]))
    low, high = np.percentile(drawn, [2.5, 97.5])
    return Estimate(_auc(labels, p_after) - _auc(labels, p_before), float(low), float(high))


def table(title: str, rows: Sequence[Row]) -> Table:
    """For a terminal."""
    shown = Table(title=title, title_justify="left")
    for heading in HEADINGS:
        shown.add_column(heading, justify="left" if heading == HEADINGS[0] else "right")
    for row in rows:
        shown.add_row(*_cells(row, rows[0]))
    return shown


def markdown(rows: Sequence[Row]) -> str:
    """The same for a page."""
    lines = [HEADINGS, ["---"] * len(HEADINGS), *(_cells(row, rows[0]) for row in rows)]
    return "\n".join("| " + " | ".join(cells) + " |" for cells in lines) + "\n"


def write(path: Path, rows: Sequence[Row], told: Mapping) -> None:
    """JSON: what was done (`told`), the rows, the machine."""
    record = {**told, "rows": [asdict(row) for row in rows], "measured_on": describe_machine()}
    path.write_text(json.dumps(record, indent=2, default=str) + "\n", encoding="utf-8")


HEADINGS = (
    "network",
    "val AUC",
    "change, points",
    "val EER",
    "file",
    "inflated",
    "forward",
    "speed",
    "zeros",
    "largest diff.",
    "same verdict",
)


def _cells(row: Row, first: Row) -> list[str]:
    change = row.auc_change
    return [
        row.name,
        str(row.auc),
        "" if row is first else f"{100 * change.value:+.1f} [{100 * change.low:+.1f}, {100 * change.high:+.1f}]",
        str(row.eer),
        _mib(row.size_bytes),
        _mib(row.inflated_bytes),
        f"{row.forward_ms:.1f} ms",
        f"{first.forward_ms / row.forward_ms:.2f}x",
        "" if row.zeros is None else f"{row.zeros:.0%}",
        f"{row.max_abs_diff:.2g}",
        f"{row.agreement:.1%}",
    ]


def _inflated_bytes(content: bytes) -> int:
    with zipfile.ZipFile(io.BytesIO(content)) as archive:
        return sum(member.file_size for member in archive.infolist())


def _mib(n_bytes: int) -> str:
    return f"{n_bytes / 2**20:.2f} MiB"


def _one_pass(module: nn.Module, entry: Entry):
    one = clip_inputs(entry.spec)(entry.val[0])[:1]
    return lambda: module(one)


def _calibration(scores: Scores) -> Calibration:
    try:
        return fit_calibration(scores)
    except NoBetterThanChanceError:
        return Calibration()


def _members(groups: Sequence[str]) -> list[np.ndarray]:
    numbers = np.unique(np.asarray(groups), return_inverse=True)[1]
    return [np.flatnonzero(numbers == number) for number in np.unique(numbers)]


def _auc(labels: np.ndarray, p_fake: np.ndarray) -> float:
    return float(roc_auc_score(labels, p_fake))
