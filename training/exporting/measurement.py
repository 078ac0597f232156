"""What a variant costs and changes: differences to fp32, and forward times taken in turns."""

from __future__ import annotations

import json
import platform
import statistics
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path

import torch
import torchvision
from torch import Tensor, nn

from model_defs.calibration import Calibration
from model_defs.networks.artifact import (
    DEVICES,
    Artifact,
    ArtifactError,
    load_artifact,
    load_torchscript,
    read_manifest,
)
from model_defs.spec import InputSpec, VideoSpec, spec_from_dict
from training.data.datasets import load_dataset, select
from training.data.prepared import DEFAULT_CACHE, PreparedClip, prepare
from training.evaluation.scores import spread_inputs

MEASURED_FILE = "measured.json"
N_INPUTS_OFF_DEVICE = 4  # fp16 takes CPUs without fp16 arithmetic some 20 s a clip


@dataclass(frozen=True)
class Difference:
    """Of p_fake from a reference's, over some inputs."""

    max_abs: float
    mean_abs: float
    agreement: float  # share of inputs with the same verdict

    def __str__(self) -> str:
        return (
            f"p_fake differs by at most {self.max_abs:.2g}, {self.mean_abs:.2g} on average; {self.agreement:.1%} agree"
        )


def compare(reference: nn.Module, module: nn.Module, inputs: Tensor, dtype: torch.dtype = torch.float32) -> Difference:
    """Run both on the CPU, one input of (N, T, ...) at a time; `module` gets them as `dtype`. Nothing is calibrated."""
    with torch.inference_mode():
        expected = torch.cat([_p_fake(reference(one[None])[0]) for one in inputs])
        found = torch.cat([_p_fake(module(one[None].to(dtype))[0]) for one in inputs])
    return difference(expected, found)


def difference(expected: Tensor, found: Tensor, threshold: float = 0.5) -> Difference:
    """Of two vectors of p_fake (N,), Fake from the threshold on. What is no number counts as infinitely different."""
    gap = (found - expected).abs().nan_to_num(nan=float("inf"))
    agreement = ((found >= threshold) == (expected >= threshold)).float().mean().item()
    return Difference(gap.max().item(), gap.mean().item(), agreement)


def interleaved_ms(
    runs: Mapping[str, Callable[[], object]], n_repeats: int, n_warm_up: int = 3
) -> dict[str, list[float]]:
    """Times of each callable in milliseconds, taken in turns, so that what disturbs the machine disturbs all alike."""
    for run in runs.values():
        for _ in range(n_warm_up):  # the TorchScript interpreter specializes in its first passes
            run()
    times_ms: dict[str, list[float]] = {name: [] for name in runs}
    for _ in range(n_repeats):
        for name, run in runs.items():
            start = time.perf_counter()
            run()
            times_ms[name].append((time.perf_counter() - start) * 1e3)
    return times_ms


def measure_variants(artifact_dir: Path, inputs: Tensor, n_repeats: int = 15) -> dict:
    """Measure the variants of an artifact directory that run on this machine.

    Args:
        artifact_dir: what `export_variants` wrote.
        inputs: real ones, (N, T, ...) float32; all serve for the differences, which are those of calibrated answers and
            of verdicts at the model's threshold, the first for the times.
        n_repeats: forward passes timed for each variant, after warm-up.

    Returns:
        {"weights_sha256", "variants": {variant: {"forward_ms", "device", "max_abs_diff", "agreement", "n_inputs"}},
        "measured_on": {...}}: what `write_measured` takes. `forward_ms` is the median for one clip or window. Without
        CUDA fp16 is compared on the CPU, on N_INPUTS_OFF_DEVICE inputs, and its `forward_ms` is None: not measured.
    """
    manifest = read_manifest(artifact_dir)
    loaded = load_runnable(artifact_dir)
    calibration = Calibration(**manifest.get("calibration", {}))
    expected = _all_p_fake(loaded["fp32"], inputs, calibration)
    variants = {}
    for variant, entry in manifest["variants"].items():
        if variant in loaded:
            found = _all_p_fake(loaded[variant], inputs, calibration)
        else:
            path = Path(artifact_dir) / entry["file"]
            module, meta = load_torchscript(path.read_bytes(), path, "cpu")
            off_device = Artifact(module, meta, loaded["fp32"].spec, variant, "cpu")
            found = _all_p_fake(off_device, inputs[:N_INPUTS_OFF_DEVICE], calibration)
        gap = difference(expected[: len(found)], found, calibration.threshold)
        variants[variant] = {
            "forward_ms": None,
            "device": loaded[variant].device if variant in loaded else "cpu",
            "max_abs_diff": round(gap.max_abs, 6),
            "agreement": round(gap.agreement, 4),
            "n_inputs": len(found),
        }
    for variant, time_ms in forward_times_ms(loaded, inputs[:1], n_repeats).items():
        variants[variant]["forward_ms"] = round(time_ms, 2)
    return {"weights_sha256": manifest["weights_sha256"], "variants": variants, "measured_on": describe_machine()}


def forward_times_ms(artifacts: Mapping[str, Artifact], batch: Tensor, n_repeats: int) -> dict[str, float]:
    """Median time of each artifact for one batch; its outputs are on the CPU, so its device has then finished."""
    runs = {name: lambda artifact=artifact: artifact.forward(batch) for name, artifact in artifacts.items()}
    return {name: statistics.median(times_ms) for name, times_ms in interleaved_ms(runs, n_repeats).items()}


def retime(weights_dir: Path, artifact_dir: Path, n_repeats: int = 31) -> dict:
    """Take the forward times in measured.json again, on noise: they do not depend on what the input shows.

    Returns:
        The record as written. Differences and agreement stay; export again to bring the times into the manifest.

    Raises:
        ArtifactError: there is no measured.json, or it is of other weights than the artifact.
    """
    measured = read_measured(weights_dir)
    if measured is None or measured["weights_sha256"] != read_manifest(artifact_dir)["weights_sha256"]:
        raise ArtifactError(f"{weights_dir}/{MEASURED_FILE} is absent, or of other weights than {artifact_dir}")
    artifacts = load_runnable(artifact_dir)
    spec = artifacts["fp32"].spec
    is_video = isinstance(spec, VideoSpec)
    shape = (spec.n_frames, 3, spec.size_px, spec.size_px) if is_video else (spec.n_steps, spec.n_features)
    for variant, time_ms in forward_times_ms(artifacts, torch.randn(1, *shape), n_repeats).items():
        measured["variants"][variant]["forward_ms"] = round(time_ms, 2)
    measured["measured_on"] = describe_machine()
    write_measured(weights_dir, measured)
    return measured


def measure_again(weights_dir: Path, artifact_dir: Path, dataset: Path, cache_dir: Path = DEFAULT_CACHE) -> dict:
    """Take all of measured.json again: `measure_variants` on the first input of each validation clip.

    Returns:
        The record as written.

    Raises:
        DatasetError: the data set has no usable validation clip.
    """
    spec = spec_from_dict(read_manifest(artifact_dir)["spec"])
    clips = prepare(select(load_dataset(dataset), "val"), spec, cache_dir)
    measured = measure_variants(artifact_dir, first_inputs(clips, spec))
    write_measured(weights_dir, measured)
    return measured


def first_inputs(clips: Sequence[PreparedClip], spec: InputSpec) -> Tensor:
    """The first input of every whole clip: (N, T, ...)."""
    return torch.cat([inputs[:1] for inputs in spread_inputs(clips, spec, len(clips))])


def load_runnable(artifact_dir: Path) -> dict[str, Artifact]:
    """The variants whose device is here: without CUDA all but fp16."""
    devices = {variant: DEVICES[variant][0] for variant in read_manifest(artifact_dir)["variants"]}
    here = {variant: device for variant, device in devices.items() if device == "cpu" or torch.cuda.is_available()}
    return {variant: load_artifact(artifact_dir, device, variant) for variant, device in here.items()}


def describe_machine() -> dict:
    """Hardware, threads, versions and date, to print beside any figure."""
    return {
        "hardware": _cpu_name() + (f", {torch.cuda.get_device_name()}" if torch.cuda.is_available() else ""),
        "torch_threads": torch.get_num_threads(),
        "versions": {
            "python": platform.python_version(),
            "torch": torch.__version__,
            "torchvision": torchvision.__version__,
        },
        "date": datetime.now(UTC).date().isoformat(),
    }


def write_measured(weights_dir: Path, measured: dict) -> None:
    """Write measured.json, which `export_variants` takes the manifest's speeds and differences from."""
    text = json.dumps(measured, indent=2, sort_keys=True) + "\n"
    (Path(weights_dir) / MEASURED_FILE).write_text(text, encoding="utf-8")


def read_measured(weights_dir: Path) -> dict | None:
    """What `write_measured` wrote; None when it did not."""
    path = Path(weights_dir) / MEASURED_FILE
    return json.loads(path.read_text(encoding="utf-8")) if path.exists() else None


def _p_fake(logits: Tensor) -> Tensor:
    return logits[:, :2].float().softmax(dim=1)[:, 1]  # a third column is the distance of an OOD distance


def _all_p_fake(artifact: Artifact, inputs: Tensor, calibration: Calibration) -> Tensor:
    logits = torch.cat([artifact.forward(one[None])[0][:, :2].float() for one in inputs])
    return torch.from_numpy(calibration.p_fake(logits.numpy()))


def _cpu_name() -> str:
    info = Path("/proc/cpuinfo")
    names = [line for line in info.read_text().splitlines() if line.startswith("model name")] if info.exists() else []
    return names[0].partition(": ")[2] + f" x{len(names)}" if names else platform.processor() or platform.machine()
