"""From published weights to an artifact directory of TorchScript files.

A weights directory holds model.safetensors (model_defs.networks.weights), for networks with 2-D convolutions also
quantization.safetensors (.quantization), anomaly.safetensors (.anomaly), and measured.json (.measurement).
 The same weights under the same versions (zlib's among them) give the same bytes, in any directory:
that is why speeds come from measured.json and are not taken here.
"""

from __future__ import annotations

import copy
import hashlib
import io
import json
import re
import shutil
import tempfile
import warnings
import zipfile
from dataclasses import dataclass
from pathlib import Path

import torch
from torch import Tensor, nn

from model_defs.networks.artifact import (
    DEVICES,
    MANIFEST_FILE,
    PARTS,
    RECORD_FILE,
    VARIANTS,
    ArtifactError,
    load_torchscript,
)
from model_defs.networks.ood import MahalanobisDistance, with_distance
from model_defs.networks.video import FrameSequenceNet, SplitVideoNet
from model_defs.networks.weights import load_weights, sha256_of
from model_defs.spec import LABELS, InputSpec, VideoSpec, spec_from_dict
from training.exporting.anomaly import read_anomaly
from training.exporting.folding import fold_batch_norms, fold_features
from training.exporting.freed_operators import forget_freed_operators
from training.exporting.measurement import Difference, compare, read_measured
from training.exporting.quantization import load_observer_state, quantize_int8, static_part

WEIGHTS_FILE, OBSERVER_FILE = "model.safetensors", "quantization.safetensors"
CHECK_SEED = 20_250_101
N_DROPPED_BITS = 15  # of the 23 of a float's mantissa: what is left is exact to 0.2 %, 7-bit weights to some percent
_MANGLED = re.compile(r"[./]___torch_mangle_\d+")


@dataclass(frozen=True)
class Tolerance:
    """How far p_fake of a reloaded variant may lie from the eager fp32 network on the check's inputs."""

    max_abs_diff: float
    mean_abs_diff: float


# fp32 differs by the order of sums only; the synthetic inputs are unlike the ones int8 was calibrated on,
# so its verdicts on real ones are held by MIN_AGREEMENT.
TOLERANCES = {"fp32": Tolerance(1e-4, 1e-4), "fp16": Tolerance(0.02, 0.005), "int8": Tolerance(0.4, 0.1)}
MIN_AGREEMENT = 0.9  # share of real inputs that a variant must give fp32's verdict for, as measured.json has it
MIN_SPEEDUP = 1.1  # int8 becomes the default on the CPU only if it is quicker by this factor...
MIN_DEFAULT_AGREEMENT = 0.98  # ... and agrees this often


class VariantError(ArtifactError):
    """A variant does not say what the eager network says."""


def export_variants(weights_dir: Path, output_dir: Path, variants: tuple[str, ...] = VARIANTS) -> dict:
    """Write `<variant>.pt` files and manifest.json.

    Each file is loaded again and compared with the eager network before any of them is put in place.

    Args:
        weights_dir: holds model.safetensors and what else the module's docstring names.
        output_dir: created or replaced as a whole.
        variants: which ones to write. An int8 that says something else than fp32 is left out, with a warning; the
            manifest's `left_out` has the reason.

    Returns:
        The manifest, and under its key "checks" (which is not written) the `Difference` of each variant.

    Raises:
        FileNotFoundError: the weights, or for int8 of a network with 2-D convolutions the observer state, are absent.
        ArtifactError: fp32 or fp16 lies outside of TOLERANCES or MIN_AGREEMENT, or measured.json or anomaly.safetensors
            is of other weights.
    """
    weights_dir, output_dir = Path(weights_dir), Path(output_dir)
    net, meta = load_weights(weights_dir / WEIGHTS_FILE)
    digest = sha256_of(weights_dir / WEIGHTS_FILE)
    record = _record(meta, digest)
    distance = None
    if (anomaly := read_anomaly(weights_dir)) is not None:
        distance, record["anomaly_percentiles"] = anomaly
    measured = _measured(weights_dir, digest)
    inputs = check_inputs(spec_from_dict(meta["spec"]))
    output_dir.parent.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(dir=output_dir.parent, prefix=".export-") as scratch:
        staged, checks, entries, left_out = Path(scratch) / "artifact", {}, {}, {}
        staged.mkdir()
        for variant in variants:
            content = serialize(build_variant(net, variant, weights_dir, distance), {**record, "variant": variant})
            try:
                checks[variant] = _check(content, net, variant, inputs)
                _require_agreement(measured, variant)
            except VariantError as error:
                if variant != "int8":
                    raise
                left_out[variant] = str(error)
                warnings.warn(f"int8 is left out, and fp32 kept: {error}", stacklevel=2)
                continue
            (staged / f"{variant}.pt").write_bytes(content)
            entries[variant] = {
                "file": f"{variant}.pt",
                "sha256": hashlib.sha256(content).hexdigest(),
                "size_bytes": len(content),
                **measured["variants"].get(variant, {"forward_ms": None, "max_abs_diff": None, "agreement": None}),
            }
        manifest = {
            **record,
            "default_variant": _default_variants(entries),
            "variants": entries,
            "left_out": left_out,
            "measured_on": measured["measured_on"],
        }
        (staged / MANIFEST_FILE).write_text(json.dumps(manifest, indent=2, sort_keys=True) + "\n", encoding="utf-8")
        if output_dir.exists():
            shutil.rmtree(output_dir)
        staged.rename(output_dir)
    return {**manifest, "checks": checks}


def build_variant(
    net: nn.Module, variant: str, weights_dir: Path, distance: MahalanobisDistance | None = None
) -> torch.jit.ScriptModule:
    """The scripted and frozen form of an eager network; freezing folds each batch norm into its convolution.

    Args:
        distance: gives the logits a third column, see `model_defs.networks.ood`; None leaves them as they are.

    Raises:
        FileNotFoundError: int8 of a network with 2-D convolutions, and no observer state in `weights_dir`.
    """
    net = copy.deepcopy(net).cpu().eval()
    if variant == "int8":
        state_file, is_static = Path(weights_dir) / OBSERVER_FILE, static_part(net) is not None
        if is_static and not state_file.exists():
            raise FileNotFoundError(f"int8 needs {state_file}, which training.exporting.quantization.calibrate makes")
        net = quantize_int8(net, load_observer_state(state_file) if is_static else None)
    elif variant == "fp16":
        net = fold_batch_norms(net).half()  # in this order: folding in fp16 would round twice
    if distance is not None:
        net = with_distance(net, distance)
    if variant == "int8":
        return round_floats(torch.jit.freeze(script(net)))
    if variant == "fp32" and isinstance(net, FrameSequenceNet):
        fold_features(net)  # before freezing, so that all methods share the weights
        return torch.jit.freeze(script(SplitVideoNet(net)), preserved_attrs=list(PARTS))
    return torch.jit.freeze(script(net))


def round_floats(module: torch.jit.ScriptModule) -> torch.jit.ScriptModule:
    """The frozen module, its float weights (those that int8 leaves alone) rounded in place.

    They take half their room in a file that is deflated, and products with activations of 8 bits gain nothing from
    more bits.
    """
    for node in module.graph.findAllNodes("prim::Constant"):
        if node.hasAttribute("value") and node.kindOf("value") == "t":
            weight = node.t("value")
            if weight.dtype == torch.float32:
                bits = weight.view(torch.int32)
                bits.add_(1 << (N_DROPPED_BITS - 1)).bitwise_and_(-1 << N_DROPPED_BITS)
    return module


def script(net: nn.Module) -> torch.jit.ScriptModule:
    """`torch.jit.script` of a network in eval mode, safe from addresses that torch remembers too long."""
    forget_freed_operators()
    return torch.jit.script(net.eval())


def serialize(module: torch.jit.ScriptModule, record: dict) -> bytes:
    """The bytes of a TorchScript file that carries `record`, deflated, free of paths and of the process's history.

    torch writes the path of each source file into *.debug_pkl, without which only an error of the interpreter shows
    less; and it numbers a class that was compiled before (`___torch_mangle_7`). A frozen module has one class, so
    its plain name does.
    """
    buffer = io.BytesIO()
    torch.jit.save(module, buffer, _extra_files={RECORD_FILE: json.dumps(record, sort_keys=True)})
    buffer.seek(0)
    reader, clean = torch._C.PyTorchFileReader(buffer), io.BytesIO()
    writer, written = torch._C.PyTorchFileWriter(clean), set()
    for name in sorted(reader.get_all_records(), key=_unmangled):
        if name.endswith(".debug_pkl") or name.startswith(".data/") or name in ("version", "byteorder"):
            continue  # the writer adds the last three itself
        content, name_written = reader.get_record(name), _unmangled(name)
        if name_written in written:
            raise ValueError(f"two classes of one name in {type(module).__name__}: was the module frozen?")
        if name.startswith("code/") or name == "data.pkl":
            content = _MANGLED.sub("", content.decode("latin-1")).encode("latin-1")
        writer.write_record(name_written, content, len(content))
        written.add(name_written)
    writer.write_end_of_file()
    return _deflated(clean)


def _deflated(stored: io.BytesIO) -> bytes:
    """The same zip file, compressed: torch's reader inflates what its writer would not deflate."""
    deflated = io.BytesIO()
    with zipfile.ZipFile(stored) as source, zipfile.ZipFile(deflated, "w", zipfile.ZIP_DEFLATED) as target:
        for name in source.namelist():
            target.writestr(zipfile.ZipInfo(name), source.read(name), zipfile.ZIP_DEFLATED, compresslevel=9)
    return deflated.getvalue()


def _unmangled(name: str) -> str:
    return _MANGLED.sub("", name)


def check_inputs(spec: InputSpec, n_inputs: int = 8) -> Tensor:
    """Smooth noise in the network's input format, always the same: (n_inputs, T, ...).

    Clips are short and small, for fp16 is very slow on CPUs; the networks take any size.
    """
    generator = torch.Generator().manual_seed(CHECK_SEED)
    if isinstance(spec, VideoSpec):
        coarse = torch.randn(n_inputs * 3, 3, 12, 12, generator=generator)
        return nn.functional.interpolate(coarse, size=96, mode="bilinear").view(n_inputs, 3, 3, 96, 96)
    coarse = torch.randn(n_inputs, spec.n_features, spec.n_steps // 4, generator=generator)
    return nn.functional.interpolate(coarse, size=spec.n_steps, mode="linear").transpose(1, 2).contiguous()


def _check(content: bytes, net: nn.Module, variant: str, inputs: Tensor) -> Difference:
    module, _ = load_torchscript(content, Path(f"{variant}.pt"), "cpu")
    difference = compare(net, module, inputs, dtype=torch.float16 if variant == "fp16" else torch.float32)
    limit = TOLERANCES[variant]
    if not (difference.max_abs <= limit.max_abs_diff and difference.mean_abs <= limit.mean_abs_diff):
        raise VariantError(f"{variant} differs too much from the eager network: {difference}; allowed: {limit}")
    return difference


def _record(meta: dict, digest: str) -> dict:
    known = {key: value for key, value in meta.items() if key not in ("epoch", "optimizer")}
    return {
        "name": meta["spec"]["modality"],
        "modality": meta["spec"]["modality"],
        "labels": list(LABELS),
        "calibration": {"temperature": 1.0, "bias": 0.0, "threshold": 0.5},
        "metrics": {},
        **known,
        "weights_sha256": digest,
        "torch": torch.__version__.partition("+")[0],
    }


def _measured(weights_dir: Path, digest: str) -> dict:
    measured = read_measured(weights_dir)
    if measured is None:
        return {"variants": {}, "measured_on": None}
    if measured["weights_sha256"] != digest:
        raise ArtifactError(
            f"{weights_dir}/measured.json is of other weights; measure again (python -m training.export --measure)"
        )
    return measured


def _require_agreement(measured: dict, variant: str) -> None:
    agreement = measured["variants"].get(variant, {}).get("agreement")
    if agreement is not None and agreement < MIN_AGREEMENT:
        raise VariantError(f"{variant} agrees with fp32 on {agreement:.1%} of real inputs; {MIN_AGREEMENT:.0%} needed")


def _default_variants(entries: dict[str, dict]) -> dict[str, str]:
    defaults = {"cpu": "fp32", "cuda": "fp16" if "fp16" in entries else "fp32"}
    int8, fp32 = entries.get("int8", {}), entries.get("fp32", {})
    if int8.get("forward_ms") and fp32.get("forward_ms"):
        quicker = fp32["forward_ms"] >= MIN_SPEEDUP * int8["forward_ms"]
        if quicker and int8["agreement"] >= MIN_DEFAULT_AGREEMENT:
            defaults["cpu"] = "int8"
    return {
        device: variant for device, variant in defaults.items() if variant in entries and device in DEVICES[variant]
    }
