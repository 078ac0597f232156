"""Turn a checkpoint into the weights that are served: rounded, calibrated, measured, described.

Calibration and int8 ranges come from val and train clips; nothing is fitted on the test split. `training.publish` is
the command, and says what is written.
"""

from __future__ import annotations

import tempfile
from collections.abc import Sequence
from dataclasses import asdict
from pathlib import Path

from torch import nn
from tqdm import tqdm

from model_defs.calibration import Calibration
from model_defs.networks.weights import load_weights, save_weights
from model_defs.spec import InputSpec, spec_from_dict
from training.data.datasets import Clip, DatasetError, load_dataset, select
from training.data.prepared import DEFAULT_CACHE, PreparedClip, prepare, verify_fresh
from training.evaluation.calibration import DIGITS, fit_calibration
from training.evaluation.metrics import Estimate, summarize
from training.evaluation.scores import Scores, score_clips, spread_inputs
from training.exporting.anomaly import write_anomaly
from training.exporting.measurement import first_inputs, measure_variants, write_measured
from training.exporting.model_card import model_card
from training.exporting.quantization import (
    calibrate,
    load_observer_state,
    quantize_int8,
    save_observer_state,
    static_part,
)
from training.exporting.variants import OBSERVER_FILE, export_variants

N_CALIBRATION_CLIPS = 40  # for int8 ranges: some hundred frames
RANGES_SUFFIX = ".quantization.safetensors"  # of int8 ranges beside a checkpoint, where training settled them


Metrics = dict[str, dict[str, dict[str, Estimate]]]  # split -> variant -> name -> estimate


def publish(
    checkpoint: Path,
    dataset: Path | Sequence[Clip],
    output: Path,
    *,
    cache_dir: Path = DEFAULT_CACHE,
    with_test: bool = False,
    n_workers: int = 2,
    false_alarm_rate: float | None = None,
) -> Metrics:
    """Write these files into `output` and return the metrics of each split and variant.

    Args:
        checkpoint: of the best epoch; int8 ranges beside it (`RANGES_SUFFIX`) are kept.
        dataset: the folder that it was trained on, or its clips, divided as they were then.
        output: folder of the weights.
        cache_dir: of prepared clips.
        with_test: measure the test split, too.
        n_workers: threads that decode.
        false_alarm_rate: see `fit_calibration`.

    Raises:
        DatasetError: the cache is stale, or a split that is needed is empty.
        NoBetterThanChanceError: so it is on the validation clips.
    """
    net, record = load_weights(checkpoint)
    spec = spec_from_dict(record["spec"])
    splits = ("train", "val", "test") if with_test else ("train", "val")
    listed = load_dataset(dataset) if isinstance(dataset, Path) else dataset
    prepared = prepare(select(listed, *splits), spec, cache_dir, n_workers=n_workers)
    clips = {split: [item for item in prepared if item.clip.split == split] for split in splits}
    for split in splits:
        if not clips[split]:
            raise DatasetError(f"the data set has no usable clip in its {split} split")
    verify_fresh(clips["val"], spec)

    output.mkdir(parents=True, exist_ok=True)
    # Written aside and moved when all is there: an interruption must not leave files of two models together.
    with tempfile.TemporaryDirectory(dir=output.parent, prefix=".publish-") as scratch:
        staged = Path(scratch) / "weights"
        staged.mkdir()
        metrics = _write(net, record, spec, clips, checkpoint.with_suffix(RANGES_SUFFIX), staged, false_alarm_rate)
        for path in staged.iterdir():
            path.replace(output / path.name)
        if not static_part(net):
            (output / OBSERVER_FILE).unlink(missing_ok=True)  # of the model that was here before
    return metrics


def _write(
    net: nn.Module,
    record: dict,
    spec: InputSpec,
    clips: dict[str, list[PreparedClip]],
    ranges: Path,
    folder: Path,
    false_alarm_rate: float | None,
) -> Metrics:
    """The files of `publish`, in an empty folder."""
    meta = {name: record[name] for name in ("network", "spec", "labels")}
    weights_path = folder / "model.safetensors"
    save_weights(weights_path, net, meta)
    net = load_weights(weights_path)[0]  # from here on what is served: the weights as rounded
    variants = {"fp32": net, "int8": _int8(net, clips["train"], spec, ranges, folder)}
    scores = {
        split: {name: score_clips(one, clips[split], spec, show_progress=True) for name, one in variants.items()}
        for split in clips.keys() - {"train"}
    }
    calibration = fit_calibration(scores["val"]["fp32"], false_alarm_rate)
    metrics = _metrics(scores, calibration)
    meta |= {"calibration": calibration.to_dict(), "metrics": plain_metrics(metrics)}
    save_weights(weights_path, net, meta)
    write_anomaly(folder, variants, clips["train"], clips["val"], spec)

    export_variants(folder, folder.parent / "artifact")
    measured = measure_variants(folder.parent / "artifact", first_inputs(clips["val"], spec))
    write_measured(folder, measured)
    (folder / "MODEL_CARD.md").write_text(model_card(meta, net, clips, metrics, measured), encoding="utf-8")
    return metrics


def _int8(net: nn.Module, train: Sequence[PreparedClip], spec: InputSpec, ranges: Path, output: Path) -> nn.Module:
    """Ranges of quantization-aware training belong to the weights; others are found here."""
    if not static_part(net):
        return quantize_int8(net)
    if ranges.is_file():
        observed = load_observer_state(ranges)
    else:
        inputs = spread_inputs(train, spec, N_CALIBRATION_CLIPS)
        observed = calibrate(net, tqdm(inputs, desc="int8 ranges", unit="clip"))
    save_observer_state(output / OBSERVER_FILE, observed)
    return quantize_int8(net, observed)


def _metrics(scores: dict[str, dict[str, Scores]], calibration: Calibration) -> Metrics:
    metrics: Metrics = {}
    for split, by_variant in scores.items():
        metrics[split] = {}
        for variant, found in by_variant.items():
            p_fake = calibration.p_fake(found.logits)
            metrics[split][variant] = summarize(found.labels, p_fake, found.groups, threshold=calibration.threshold)
    return dict(sorted(metrics.items(), reverse=True))


def plain_metrics(metrics: Metrics) -> dict:
    """The metrics as JSON values."""
    return {
        split: {
            variant: {
                name: {key: round(v, DIGITS) for key, v in asdict(one).items()} for name, one in estimates.items()
            }
            for variant, estimates in by_variant.items()
        }
        for split, by_variant in metrics.items()
    }
