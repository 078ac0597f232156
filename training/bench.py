"""How long every variant takes, how far it is from fp32, and where the time of a request goes.

python -m training.bench [--artifacts DIR] [--clip FILE] [--repeats N] [--threads N] [--write docs/results.md]
"""

from __future__ import annotations

import argparse
import statistics
import textwrap
from collections import defaultdict
from collections.abc import Mapping, Sequence
from pathlib import Path

import torch
from rich.console import Console
from rich.table import Table

from model_defs.errors import DetectionError
from model_defs.inference.engine import Engine, Item, load_engine
from model_defs.networks.artifact import DEVICES, VARIANTS, read_manifest
from training.evaluation.file_scores import network_input, sampled
from training.exporting.measurement import describe_machine, forward_times_ms, interleaved_ms, load_runnable
from training.reporting.numbers import fill

STAGES = ("decode", "faces", "features", "forward")
MARKS = ("<!-- bench: `make bench WRITE=1` writes it -->", "<!-- /bench -->")  # in a document
NOT_MEASURED = "–"  # the device is absent, or the weights were published without it


def stage_times_ms(engines: Mapping[str, Engine], clip: Path, n_repeats: int) -> dict[str, dict[str, float]]:
    """Median time of each stage of one request, and of the whole (`total`), for each engine.

    `other` is what the stages leave: hashing, fusing, waiting for the decoding thread.

    Raises:
        DetectionError: an engine refuses the clip.
    """
    data = clip.read_bytes()
    samples: dict[str, dict[str, list[float]]] = {name: defaultdict(list) for name in engines}

    def request(name: str) -> None:
        answer = engines[name].detect_batch([Item(data, clip.name)])[0]
        if isinstance(answer, DetectionError):
            raise answer
        times_s = {stage: answer["timings_s"].get(stage, 0.0) for stage in STAGES}
        total_s = answer["processing_time"]
        for stage, seconds in {**times_s, "other": total_s - sum(times_s.values()), "total": total_s}.items():
            samples[name][stage].append(seconds * 1e3)

    for engine in engines.values():
        engine.warm_up()
    n_warm_up = 2
    interleaved_ms({name: lambda name=name: request(name) for name in engines}, n_repeats, n_warm_up)
    return {
        name: {stage: statistics.median(values[n_warm_up:]) for stage, values in stages.items()}
        for name, stages in samples.items()
    }


def variant_table(name: str, manifest: dict, times_ms: Mapping[str, float], n_inputs: int) -> Table:
    """One row a variant; what the manifest knows of real validation inputs beside what was timed here."""
    unit = "clip" if manifest["modality"] == "video" else f"clip of {n_inputs} windows"
    table = Table(title=f"{name} ({manifest['network']}): forward pass of one {unit}", title_justify="left")
    for heading in (
        "variant",
        "device",
        "median",
        "/ fp32",
        "size",
        "/ fp32",
        "max. diff.",
        "same verdict",
    ):
        table.add_column(heading, justify="left" if heading in ("variant", "device") else "right")
    fp32_bytes = manifest["variants"]["fp32"]["size_bytes"]
    for variant in sorted(manifest["variants"], key=VARIANTS.index):
        entry = manifest["variants"][variant]
        time_ms = times_ms.get(variant)
        gap, agreement = entry.get("max_abs_diff"), entry.get("agreement")
        table.add_row(
            variant,
            DEVICES[variant][0],
            NOT_MEASURED if time_ms is None else f"{time_ms:.1f} ms",
            "" if time_ms is None else f"{time_ms / times_ms['fp32']:.2f}",
            f"{entry['size_bytes'] / 2**20:.1f} MiB",
            f"{entry['size_bytes'] / fp32_bytes:.0%}",
            NOT_MEASURED if gap is None else f"{gap:.2g}",
            NOT_MEASURED if agreement is None else f"{agreement:.1%} of {entry['n_inputs']}",
        )
    return table


def stage_table(times_ms: Mapping[str, Mapping[str, float]], clip: Path) -> Table:
    """One row a model; the share of each stage in percent of the whole."""
    table = Table(title=f"one request: {clip.name}, variant as the archive picks it, no cache", title_justify="left")
    table.add_column("model")
    for stage in (*STAGES, "other", "total"):
        table.add_column(stage, justify="right")
    for name, stages in times_ms.items():
        shares = [f"{stages[stage]:.1f} ms  {stages[stage] / stages['total']:4.0%}" for stage in (*STAGES, "other")]
        table.add_row(name, *shares, f"{stages['total']:.1f} ms")
    return table


def run(artifacts: Path, clip: Path, n_repeats: int, console: Console) -> list[Table | str]:
    """Measure and print everything; returns the tables and the lines between them."""
    machine = describe_machine()
    versions = ", ".join(f"{name} {version}" for name, version in machine["versions"].items())
    parts: list[Table | str] = [
        f"{machine['hardware']}; torch threads: {machine['torch_threads']}; {versions}; {machine['date']}; "
        f"medians of {n_repeats} repetitions, variants and models in turns, in one process\n"
    ]
    console.print(parts[-1])
    engines: dict[str, Engine] = {}
    for suffix in ("", "-light"):
        paths = {modality: artifacts / f"{modality}{suffix}" for modality in ("video", "audio")}
        paths = {modality: path for modality, path in paths.items() if path.is_dir()}
        for modality, path in paths.items():
            engines[path.name] = load_engine({modality: path}, name=modality, cache=None)
            predictor = engines[path.name].predictors[modality]
            inputs = network_input(predictor.artifact, sampled(clip)(predictor))
            times_ms = forward_times_ms(load_runnable(path), inputs, n_repeats)
            parts.append(variant_table(path.name, read_manifest(path), times_ms, len(inputs)))
            console.print(parts[-1])
        if len(paths) > 1:
            engines[f"ensemble{suffix}"] = load_engine(paths, cache=None)
    parts.append(
        "max. diff. of p_fake and same verdict: against fp32 on real validation inputs, from the manifest; "
        f"{NOT_MEASURED} not measured: fp16 runs on CUDA only\n"
    )
    console.print(parts[-1])
    parts.append(stage_table(stage_times_ms(engines, clip, n_repeats), clip))
    console.print(parts[-1])
    return parts


def markdown(parts: Sequence[Table | str]) -> str:
    """What `run` printed, for a document."""
    texts = []
    for part in parts:
        if isinstance(part, str):
            texts.append(textwrap.fill(part, 118, break_on_hyphens=False))
            continue
        header = [str(column.header) for column in part.columns]
        rows = zip(*(map(str, column.cells) for column in part.columns), strict=True)
        cells = ([" ".join(cell.split()) for cell in row] for row in (header, ["---"] * len(header), *rows))
        texts.append(f"**{part.title}**\n\n" + "\n".join(f"| {' | '.join(row)} |" for row in cells))
    return "\n" + "\n\n".join(texts) + "\n\n"


def main(arguments: Sequence[str] | None = None) -> None:
    """The command line."""
    parser = argparse.ArgumentParser(prog="python -m training.bench", description=__doc__.partition("\n")[0])
    parser.add_argument(
        "--artifacts",
        type=Path,
        default=Path("build/artifacts"),
        metavar="DIR",
        help="holds video/, audio/, video-light/, audio-light/",
    )
    parser.add_argument("--clip", type=Path, default=Path("build/sample.mp4"), metavar="FILE")
    parser.add_argument("--repeats", type=int, default=15, metavar="N")
    parser.add_argument(
        "--threads", type=int, default=1, metavar="N", help="torch threads, as in one worker (default 1)"
    )
    parser.add_argument("--write", type=Path, metavar="FILE", help="a document with a place for the tables")
    options = parser.parse_args(arguments)
    for path in (options.artifacts / "video", options.clip):
        if not path.exists():
            parser.error(f"{path} is not there; `make artifacts sample` makes it")
    torch.set_num_threads(options.threads)
    parts = run(options.artifacts, options.clip, options.repeats, Console(width=110))
    if options.write:
        text = options.write.read_text(encoding="utf-8")
        options.write.write_text(fill(text, markdown(parts), str(options.write), MARKS), encoding="utf-8")


if __name__ == "__main__":
    main()
