"""The ways to compress, each from a session to the networks that are compared and the checkpoint that is left."""

from __future__ import annotations

import copy
from collections.abc import Callable, Sequence
from dataclasses import replace
from pathlib import Path

import torch
from torch import Tensor, nn
from tqdm import tqdm

from model_defs.networks.dynamic_int8 import quantize_dynamically
from model_defs.networks.registry import build_network
from model_defs.networks.weights import load_weights
from model_defs.spec import InputSpec, VideoSpec, spec_from_dict
from training.compress.batch_norm import recalibrate
from training.compress.closed_form import fit_taught, taught_examples
from training.compress.comparison import Entry
from training.compress.distillation import (
    Distillation,
    DistillationTask,
    TeacherEnsemble,
    copy_fitting,
    require_same_media,
    shared_views,
)
from training.compress.pruning import Scope, keep_pruned, prune
from training.compress.quantize_aware import AwareTask, make_aware, ranges_in
from training.compress.session import FITTING_SCRIPT, CompressionSession, write_checkpoint
from training.data.prepared import prepare
from training.evaluation.scores import spread_inputs
from training.exporting.publication import N_CALIBRATION_CLIPS, RANGES_SUFFIX
from training.exporting.quantization import (
    calibrate,
    quantize_int8,
    save_observer_state,
    static_part,
)
from training.fit_audio import KernelFit
from training.loop.checkpoint import RunError
from training.loop.engine import seed_everything
from training.run.config import input_spec
from training.run.lifecycle import Prepared

MODEL_FILE = "model.pt"  # in the output folder: the compressed network, as a checkpoint
N_STATISTICS_CLIPS = 200  # that batch-norm statistics are averaged over
BATCH_INPUTS = 16  # clips of video, windows of sound


def dynamic(work: CompressionSession, output: Path) -> list[Entry]:
    """int8 weights for recurrent and linear layers; needs no data."""
    work.save(work.net, output / MODEL_FILE)
    return [
        _entry("fp32", work, work.net),
        _entry("int8, dynamic", work, quantize_dynamically(copy.deepcopy(work.net)), "fp32"),
    ]


def static(work: CompressionSession, output: Path) -> list[Entry]:
    """int8 convolutions as well, within ranges calibrated on train clips; dynamic where there are none."""
    entries = dynamic(work, output)
    if not static_part(work.net):
        return entries
    ranges = calibrate(work.net, _calibration_inputs(work.train, work.spec))
    save_observer_state((output / MODEL_FILE).with_suffix(RANGES_SUFFIX), ranges)
    return [*entries, _entry("int8, static", work, quantize_int8(work.net, ranges), "fp32")]


def quantization_aware(work: CompressionSession, output: Path, n_free: int) -> list[Entry]:
    """Fine-tune with rounding in the forward pass.

    Args:
        work: a network with 2-D convolutions.
        output: folder.
        n_free: epochs before ranges and batch-norm statistics are frozen.
    """
    inputs = spread_inputs(work.train, work.spec, N_CALIBRATION_CLIPS)
    before = calibrate(work.net, inputs)
    net = copy.deepcopy(work.net).to(work.device)
    aware = make_aware(net, before)
    path = output / "aware" / MODEL_FILE
    work.tune(aware, AwareTask(work.task(), net, aware, inputs, n_free), path)
    aware.load_state_dict(torch.load(path, map_location=work.device, weights_only=True)["state"])
    ranges, net = ranges_in(aware), copy.deepcopy(net).cpu().eval()  # shares its weights, the best epoch's, with aware
    work.save(net, output / MODEL_FILE)
    save_observer_state((output / MODEL_FILE).with_suffix(RANGES_SUFFIX), ranges)
    return [
        _entry("fp32", work, work.net),
        _entry("int8, calibrated", work, quantize_int8(work.net, before), "fp32"),
        _entry("fp32 of the aware weights", work, net),
        _entry("int8, aware", work, quantize_int8(net, ranges), "fp32 of the aware weights"),
    ]


def pruned(work: CompressionSession, output: Path, amount: float, scope: Scope) -> list[Entry]:
    """Set the smallest weights to zero, recalibrate batch norm, and fine-tune the rest."""
    bare = copy.deepcopy(work.net)
    prune(bare, amount, scope)
    renormed = copy.deepcopy(bare)
    recalibrate(renormed, statistics_batches(work))
    net = copy.deepcopy(renormed).to(work.device)
    keep_pruned(net, prune(net, amount, scope))
    path = output / "tuned" / MODEL_FILE
    work.tune(net, work.task(), path)
    tuned, _ = load_weights(path)
    work.save(tuned, output / MODEL_FILE)
    share = f"{amount:.0%} pruned"
    return [
        _entry("before", work, work.net),
        _entry(share, work, bare),
        _entry(f"{share}, batch norm recalibrated", work, renormed),
        _entry(f"{share}, fine-tuned", work, tuned),
        _entry(f"{share}, fine-tuned, int8", work, _int8(tuned, work.train, work.spec), f"{share}, fine-tuned"),
    ]


def recalibrated(work: CompressionSession, output: Path) -> list[Entry]:
    """Average the batch-norm statistics over train clips as they are served, without augmentation."""
    net = copy.deepcopy(work.net)
    n_layers = recalibrate(net, statistics_batches(work))
    if not n_layers:
        raise ValueError(f"{work.network} has no batch norm")
    work.save(net, output / MODEL_FILE)
    return [_entry("before", work, work.net), _entry("recalibrated", work, net)]


def distilled(
    work: CompressionSession,
    output: Path,
    how: Distillation,
    *,
    others: Sequence[Path] = (),
    from_teacher: bool = False,
    alone: bool = True,
) -> list[Entry]:
    """Train a small network on the labels and on the session's answers, and beside it on the labels alone.

    A student whose preset is one of `training.fit_audio` is fitted in closed form.

    Args:
        work: the teacher, with the settings of a preset that trains the student.
        output: folder.
        how: temperature, which a closed form has none of, and weight.
        others: further teachers of the same crops, as large or smaller; the mean of all logits teaches.
        from_teacher: start from the teacher's tensors where names and shapes are the same.
        alone: train the same network from the same start without a teacher, too.

    Raises:
        RunError: the student's input, or another teacher's, cannot be had of the same media.
        ValueError: a student that is fitted in closed form is to start from its teacher.
    """
    network, spec = work.settings["network"], input_spec(work.settings)
    train, val = (_prepared_for(spec, items, work) for items in (work.train, work.val))
    is_fitted = work.settings.script == FITTING_SCRIPT
    if is_fitted and from_teacher:
        raise ValueError(f"{network} is fitted in closed form and starts from nothing; leave out --from-teacher")
    entries = [_entry("teacher", work, work.net)]
    entries += [_of_teacher(number, path, work) for number, path in enumerate(others, 2)]
    teach = _teach_at_once(work, network, spec) if is_fitted else _teach_by_steps(work, network, spec, val, entries)
    kinds = {"distilled": how} | ({"alone": replace(how, weight=0.0)} if alone else {})
    for name, weights in kinds.items():
        seed_everything(work.settings["seed"])
        net = _student(work, network)
        if from_teacher:
            tqdm.write(f"{copy_fitting(net, work.net)} of the student's tensors start as the teacher's")
        net = teach(net, weights, output / name / MODEL_FILE)
        entries.append(Entry(name, net, spec, val))
        target = output / (MODEL_FILE if name == "distilled" else f"{name}.pt")
        write_checkpoint(net, network, spec, work.settings, target)
        if name == "distilled":
            entries.append(Entry(f"{name}, int8", _int8(net, train, spec), spec, val, name))
    return entries


Teach = Callable[[nn.Module, Distillation, Path], nn.Module]  # student, how, path for what a run leaves -> the learned


def _of_teacher(number: int, path: Path, work: CompressionSession) -> Entry:
    """The row of a further teacher.

    Raises:
        RunError: it cannot be shown what the first one is, or is one of sound.
    """
    net, record = load_weights(path)
    spec = spec_from_dict(record["spec"])
    require_same_media(work.spec, spec, str(path))
    if not isinstance(spec, VideoSpec):
        raise RunError(
            "several teachers are for video alone, whose crops can be shrunk for those that want them smaller"
        )
    return Entry(f"teacher {number}", net, spec, _prepared_for(spec, work.val, work))


def _teach_by_steps(
    work: CompressionSession, network: str, spec: InputSpec, val: Prepared, teachers: Sequence[Entry]
) -> Teach:
    task, views = shared_views(work.spec, spec, work.train, work.task())
    nets = [(copy.deepcopy(one.net), one.spec) for one in teachers]  # the rows are judged on the CPU
    teacher = (nets[0][0] if len(nets) == 1 else TeacherEnsemble(nets)).to(work.device)

    def teach(net: nn.Module, how: Distillation, path: Path) -> nn.Module:
        taught = DistillationTask(task, views, teacher, network, spec, val, how)
        work.tune(net, taught, path, taught.loss(work.settings["label_smoothing"]))
        return load_weights(path)[0]

    return teach


def _teach_at_once(work: CompressionSession, network: str, spec: InputSpec) -> Teach:
    how_fitted, n_workers = work.settings.make(KernelFit), max(1, work.settings["workers"])
    listener = build_network(network).eval()  # statistics need no weights
    heard = taught_examples(work.net, work.spec, listener, spec, work.train, how_fitted, n_workers)

    def teach(net: nn.Module, how: Distillation, path: Path) -> nn.Module:
        fit_taught(net.eval(), *heard, how_fitted, how.weight)
        return net

    return teach


def statistics_batches(work: CompressionSession) -> Sequence[Tensor]:
    """Inputs of train clips as they are served, in batches of equal size."""
    inputs = torch.cat(spread_inputs(work.train, work.spec, N_STATISTICS_CLIPS))
    size = min(BATCH_INPUTS, len(inputs))
    return inputs[: len(inputs) // size * size].split(size)


def _prepared_for(spec: InputSpec, items: Prepared, work: CompressionSession) -> Prepared:
    """The same clips, prepared for another input."""
    if spec == work.spec:
        return items
    cache, n_workers = work.settings["cache"], max(1, work.settings["workers"])
    return prepare([item.clip for item in items], spec, cache, n_workers=n_workers)


def _student(work: CompressionSession, network: str) -> nn.Module:
    """A new one, or the one to start from.

    Raises:
        RunError: that is another network.
    """
    if start := work.settings.values.get("init"):
        net, record = load_weights(Path(start))
        if record["network"] != network:
            raise RunError(f"init: {start} is a {record['network']}; the student is a {network}")
        return net.train()
    if isinstance(work.spec, VideoSpec):
        return build_network(network, work.settings["backbone_weights"], work.settings["allow_random"])
    return build_network(network)


def _int8(net: nn.Module, train: Prepared, spec: InputSpec) -> nn.Module:
    """As publishing would make it, with ranges found here."""
    if not static_part(net):
        return quantize_int8(net)
    return quantize_int8(net, calibrate(net, _calibration_inputs(train, spec)))


def _calibration_inputs(train: Prepared, spec: InputSpec):
    return tqdm(spread_inputs(train, spec, N_CALIBRATION_CLIPS), desc="int8 ranges", unit="clip", leave=False)


def _entry(name: str, work: CompressionSession, net: nn.Module, weights_of: str | None = None) -> Entry:
    return Entry(name, net, work.spec, work.val, weights_of)
