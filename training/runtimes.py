"""The networks alone: TorchScript as it is served, beside ONNX Runtime and OpenVINO, each in fp32 and int8.

    make peers     or, once .venv-peers is there:
    .venv-peers/bin/python -m training.runtimes [--dataset video=DIR audio=DIR] [--repeats N] [--output DIR]

All of them run the same weights on one thread, in turns, on what the networks are fed for the sample clip. int8 of
ONNX Runtime and of NNCF is static and calibrated on the clips that ours is calibrated on, where the data set is there,
else on the sample itself; each by its own calibrator. Differences of p_fake are taken on validation clips, or on the
sample. Writes runtimes.json and runtimes.md.
"""

from __future__ import annotations

import argparse
import json
import statistics
import sys
import tempfile
import warnings
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import asdict, dataclass
from importlib.metadata import version
from pathlib import Path

import numpy as np
import torch
from torch import Tensor, nn

from model_defs.inference.engine import load_engine
from model_defs.networks.artifact import load_artifact, read_manifest
from model_defs.networks.weights import load_weights
from model_defs.spec import InputSpec, VideoSpec, spec_from_dict
from training.data.datasets import load_dataset, select
from training.data.prepared import DEFAULT_CACHE, prepare
from training.evaluation.file_scores import network_input, sampled
from training.evaluation.scores import clip_inputs
from training.exporting.measurement import describe_machine, difference, interleaved_ms
from training.exporting.publication import N_CALIBRATION_CLIPS
from training.exporting.variants import WEIGHTS_FILE

OPSET = 17
PERCENTILE = 99.99  # of an activation, for ONNX Runtime; its min-max and entropy agreed with fp32 less often
N_HISTOGRAM_CLIPS = 10  # it keeps every activation of all of them in memory
N_COMPARED_CLIPS = 24
PACKAGES = ("onnxruntime", "openvino", "nncf")
HEADINGS = (
    "runtime",
    "precision",
    "forward",
    "relative to TorchScript fp32",
    "size",
    "largest difference of `p_fake`",
    "same verdict",
)

Runnable = Callable[[np.ndarray], np.ndarray]  # (B, T, ...) float32 -> logits (B, 2)


@dataclass(frozen=True)
class Built:
    """A network in one runtime and precision.

    Attributes:
        run: one forward pass.
        size_bytes: of its file or files.
    """

    runtime: str
    precision: str
    run: Runnable
    size_bytes: int


@dataclass(frozen=True)
class Figure:
    """What was measured of one of them; times are of the sample's input, differences from TorchScript fp32."""

    modality: str
    runtime: str
    precision: str
    forward_ms: float
    size_bytes: int
    max_abs_diff: float
    agreement: float
    n_inputs: int


@dataclass(frozen=True)
class Inputs:
    """What the runtimes are given.

    Attributes:
        timed: the sample's, (B, T, ...).
        calibration: of the same shape each.
        checked: (1, T, ...) each.
        source: where the last two come from, in words.
    """

    timed: Tensor
    calibration: list[Tensor]
    checked: list[Tensor]
    source: str


def build_all(weights: Path, artifact: Path, inputs: Inputs, directory: Path) -> list[Built]:
    """TorchScript, ONNX Runtime and OpenVINO, each in fp32 and int8.

    Args:
        weights: folder of the published weights.
        artifact: what was exported of them.
        directory: for files of the other runtimes.
    """
    built = list(torchscript(artifact))
    net = load_weights(weights / WEIGHTS_FILE)[0]
    model = export_onnx(net, inputs.timed, directory / "fp32.onnx")
    built += onnx_runtime(model, inputs.calibration)
    built += openvino_runtime(model, inputs.calibration)
    return built


def torchscript(artifact: Path) -> Iterable[Built]:
    """The variants for the CPU, as they are served."""
    for precision in ("fp32", "int8"):
        loaded = load_artifact(artifact, "cpu", precision)
        size = read_manifest(artifact)["variants"][precision]["size_bytes"]
        run = lambda batch, loaded=loaded: loaded.forward(torch.from_numpy(batch))[0].numpy()  # noqa: E731
        yield Built("TorchScript (ours)", precision, run, size)


def export_onnx(net: nn.Module, example: Tensor, path: Path) -> Path:
    """The network for inputs like `example`, in any number: its first axis stays open."""
    with warnings.catch_warnings(), torch.inference_mode():
        warnings.simplefilter("ignore")  # the exporter speaks of its successor, and of shapes that it takes as fixed
        names = {"input_names": ["input"], "output_names": ["logits", "attention"]}
        axes = {name: {0: "batch"} for name in ("input", "logits", "attention")}
        torch.onnx.export(net.eval(), (example,), path, opset_version=OPSET, dynamo=False, dynamic_axes=axes, **names)
    return path


def onnx_runtime(model: Path, calibration: Sequence[Tensor]) -> Iterable[Built]:
    """fp32 as exported; int8 in QDQ form, static, a scale for each channel of the weights."""
    import onnxruntime
    from onnxruntime.quantization import CalibrationDataReader, CalibrationMethod, QuantType, quantize_static
    from onnxruntime.quantization.shape_inference import quant_pre_process

    class Reader(CalibrationDataReader):
        def __init__(self) -> None:
            self.left = iter([{"input": batch.numpy()} for batch in calibration[:N_HISTOGRAM_CLIPS]])

        def get_next(self) -> dict[str, np.ndarray] | None:
            return next(self.left, None)

    prepared, quantized = model.with_suffix(".prepared.onnx"), model.with_name("int8.onnx")
    quant_pre_process(model, prepared)
    quantize_static(
        prepared,
        quantized,
        Reader(),
        op_types_to_quantize=["Conv", "Gemm", "MatMul"],  # with all that it can, verdicts are little better than chance
        per_channel=True,
        activation_type=QuantType.QUInt8,
        weight_type=QuantType.QInt8,
        calibrate_method=CalibrationMethod.Percentile,
        extra_options={"CalibPercentile": PERCENTILE},
    )
    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = options.inter_op_num_threads = 1
    options.log_severity_level = 3
    for precision, path in (("fp32", model), ("int8", quantized)):
        session = onnxruntime.InferenceSession(path, options, providers=["CPUExecutionProvider"])
        run = lambda batch, session=session: session.run(["logits"], {"input": batch})[0]  # noqa: E731
        yield Built("ONNX Runtime", precision, run, path.stat().st_size)


def openvino_runtime(model: Path, calibration: Sequence[Tensor]) -> Iterable[Built]:
    """fp32 converted from ONNX; int8 by NNCF, activations asymmetric (its preset for networks with other than ReLU)."""
    import nncf
    import openvino

    nncf.set_log_level("ERROR")
    settings = {"INFERENCE_NUM_THREADS": 1, "PERFORMANCE_HINT": "LATENCY", "INFERENCE_PRECISION_HINT": "f32"}
    converted = openvino.convert_model(model)
    data = nncf.Dataset([batch.numpy() for batch in calibration])
    quantized = nncf.quantize(converted, data, preset=nncf.QuantizationPreset.MIXED, subset_size=len(calibration))
    for precision, network in (("fp32", converted), ("int8", quantized)):
        path = model.with_name(f"openvino-{precision}.xml")
        openvino.save_model(network, path, compress_to_fp16=False)
        compiled = openvino.Core().compile_model(path, "CPU", settings)
        run = lambda batch, compiled=compiled: compiled([batch])[0]  # noqa: E731
        yield Built("OpenVINO", precision, run, path.stat().st_size + path.with_suffix(".bin").stat().st_size)


def measure(modality: str, built: Sequence[Built], inputs: Inputs, n_repeats: int) -> list[Figure]:
    """Times in turns, differences from the first of `built`."""
    timed = inputs.timed.numpy()
    runs = {index: lambda run=each.run: run(timed) for index, each in enumerate(built)}
    times_ms = {index: statistics.median(values) for index, values in interleaved_ms(runs, n_repeats).items()}
    p_fake = [_p_fake(each.run, inputs.checked) for each in built]
    figures = []
    for index, each in enumerate(built):
        gap = difference(p_fake[0], p_fake[index])
        figures.append(
            Figure(
                modality,
                each.runtime,
                each.precision,
                times_ms[index],
                each.size_bytes,
                gap.max_abs,
                gap.agreement,
                len(inputs.checked),
            )
        )
    return figures


def gather(modality: str, artifact: Path, clip: Path, dataset: Path | None, cache: Path) -> Inputs:
    """The sample's input, and what to calibrate and compare on."""
    spec = spec_from_dict(read_manifest(artifact)["spec"])
    predictor = load_engine({modality: artifact}, name=modality, device="cpu", cache=None).predictors[modality]
    timed = network_input(predictor.artifact, sampled(clip)(predictor)).contiguous()
    if dataset is None or not dataset.exists():
        return Inputs(
            timed, [timed], [timed[index : index + 1] for index in range(len(timed))], "the sample clip alone"
        )
    calibration = _of_split(dataset, "train", N_CALIBRATION_CLIPS, spec, cache)
    checked = [clip[:1] for clip in _of_split(dataset, "val", N_COMPARED_CLIPS, spec, cache)]
    words = f"calibrated on {len(calibration)} training clips, compared on {len(checked)} validation clips"
    return Inputs(timed, calibration, checked, words)


def _of_split(dataset: Path, split: str, n_clips: int, spec: InputSpec, cache: Path) -> list[Tensor]:
    """Inputs of about `n_clips` whole clips, spread over the split."""
    listed = select(load_dataset(dataset), split)
    prepared = prepare(listed[:: max(1, len(listed) // n_clips)][:n_clips], spec, cache, show_progress=False)
    usable = [item for item in prepared if not isinstance(spec, VideoSpec) or item.n_frames == spec.n_frames]
    make_inputs = clip_inputs(spec)
    return [make_inputs(item).contiguous() for item in usable]


def _p_fake(run: Runnable, inputs: Sequence[Tensor]) -> Tensor:
    return torch.cat([torch.from_numpy(run(one.numpy())).float().softmax(dim=1)[:, 1] for one in inputs])


def markdown(figures: Sequence[Figure], sources: Mapping[str, str], machine: Mapping) -> str:
    """One table a modality."""
    versions = ", ".join(f"{name} {number}" for name, number in machine["versions"].items())
    blocks = [f"{machine['hardware']}; one thread; {versions}; {machine['date']}; medians of passes taken in turns."]
    for modality, source in sources.items():
        rows = [figure for figure in figures if figure.modality == modality]
        base_ms = rows[0].forward_ms
        lines = [f"**{modality}**, int8 of the others {source}:", ""]
        lines += [f"| {' | '.join(HEADINGS)} |", "|---|---|---:|---:|---:|---:|---:|"]
        for row in rows:
            cells = [
                row.runtime,
                row.precision,
                f"{row.forward_ms:.1f} ms",
                f"{row.forward_ms / base_ms:.2f}",
                f"{row.size_bytes / 2**20:.1f} MiB",
                f"{row.max_abs_diff:.2g}",
                f"{round(row.agreement * row.n_inputs)} of {row.n_inputs}",
            ]
            lines.append(f"| {' | '.join(cells)} |")
        blocks.append("\n".join(lines))
    return "\n\n".join(blocks) + "\n"


def main(arguments: Sequence[str] | None = None) -> int:
    """The command line; returns the exit status."""
    parser = argparse.ArgumentParser(
        prog="python -m training.runtimes", description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--weights", type=Path, default=Path("weights"), metavar="DIR")
    parser.add_argument("--artifacts", type=Path, default=Path("build/artifacts"), metavar="DIR")
    parser.add_argument("--clip", type=Path, default=Path("build/sample.mp4"), metavar="FILE")
    parser.add_argument(
        "--dataset",
        nargs="*",
        default=[],
        metavar="MODALITY=DIR",
        help="calibrate and compare on its train and val clips, not on the sample",
    )
    parser.add_argument("--cache", type=Path, default=DEFAULT_CACHE, help="of prepared clips (%(default)s)")
    parser.add_argument("--modalities", nargs="+", choices=("video", "audio"), default=("video", "audio"))
    parser.add_argument("--repeats", type=int, default=31, metavar="N", help="passes of each (%(default)s)")
    parser.add_argument("--output", type=Path, default=Path("build/peers"), metavar="DIR")
    options = parser.parse_args(arguments)
    datasets = dict(pair.split("=", 1) for pair in options.dataset if "=" in pair)
    if unknown := [pair for pair in options.dataset if pair.partition("=")[0] not in ("video", "audio")]:
        parser.error(f"--dataset {unknown[0]} is not video=DIR or audio=DIR")
    try:
        machine = describe_machine()
        machine["versions"] |= {name: version(name) for name in PACKAGES}
    except ModuleNotFoundError as error:
        parser.error(f"{error.name} is not installed; run .venv-peers/bin/python, which `make peers` makes")
    torch.set_num_threads(1)
    figures, sources = [], {}
    for modality in options.modalities:
        print(f"{modality}: building", file=sys.stderr)
        artifact = options.artifacts / modality
        dataset = Path(datasets[modality]) if modality in datasets else None
        inputs = gather(modality, artifact, options.clip, dataset, options.cache)
        with tempfile.TemporaryDirectory(prefix="runtimes-") as temporary:
            built = build_all(options.weights / modality, artifact, inputs, Path(temporary))
            print(f"{modality}: measuring", file=sys.stderr)
            figures += measure(modality, built, inputs, options.repeats)
        sources[modality] = inputs.source
    options.output.mkdir(parents=True, exist_ok=True)
    text = markdown(figures, sources, machine)
    record = {"machine": machine, "sources": sources, "figures": [asdict(figure) for figure in figures]}
    (options.output / "runtimes.json").write_text(json.dumps(record, indent=1) + "\n")
    (options.output / "runtimes.md").write_text(text)
    print(text)
    return 0


if __name__ == "__main__":
    sys.exit(main())
