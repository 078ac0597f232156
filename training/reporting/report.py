"""The metrics as one page that needs nothing beside it, as Markdown, and as JSON."""

from __future__ import annotations

import json
import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from reports.page import environment
from training.data.prepared import write_atomically
from training.reporting import plots

DEFAULT_OUTPUT = Path("build/evaluation")  # of `training.evaluate`
MEASURE_NAMES = {
    "auc": "ROC-AUC",
    "ap": "AP",
    "eer": "EER",
    "balanced_accuracy": "balanced accuracy",
    "accuracy": "accuracy",
    "f1": "F1",
    "log_loss": "log-loss (nats)",
    "ece": "ECE",
    "ece_balanced": "ECE with equal priors",
    "cllr": "Cllr (bits)",
}
_NUMERIC = re.compile(r"[-\d. ]*%?|clean")
_ESTIMATE = re.compile(r"([\d.]+) (\[[\d., ]+\])")


@dataclass(frozen=True)
class Block:
    """A piece of the report: a heading, a paragraph, a table or a picture."""

    kind: str  # h1, h2, h3, p, note, table, image
    text: str = ""
    rows: Sequence[Sequence[object]] = ()  # of a table, its header first
    svg: str = ""


def write_report(report: Mapping, folder: Path) -> str:
    """Write report.html, report.md and report.json; returns the Markdown."""
    folder.mkdir(parents=True, exist_ok=True)
    blocks = list(_blocks(report))
    markdown = "\n\n".join(filter(None, map(_markdown, blocks))) + "\n"
    n_head = next((index for index, block in enumerate(blocks) if block.kind == "h2"), len(blocks))
    templates = environment(Path(__file__).parent)
    templates.filters |= {"numeric_columns": _numeric_columns, "estimate": _estimate_parts}
    page = templates.get_template("page.html").render(head=blocks[:n_head], body=blocks[n_head:])
    texts = {"report.html": page, "report.md": markdown, "report.json": json.dumps(report, indent=1, sort_keys=True)}
    for name, text in texts.items():
        write_atomically(folder / name, lambda file, text=text: file.write(text.encode()))
    return markdown


def _blocks(report: Mapping) -> Iterator[Block]:
    yield Block("h1", "DeepDetect: evaluation")
    machine = report["machine"]
    versions = ", ".join(f"{name} {version}" for name, version in machine["versions"].items())
    yield Block(
        "p", f"{machine['date']}, {machine['hardware']}, {machine['torch_threads']} torch thread(s), {versions}."
    )
    for note in report["notes"]:
        yield Block("note", note)
    yield Block(
        "p",
        "Clip level, with 95 % intervals of a bootstrap over source groups; no group lies in two splits. P(fake) is "
        "calibrated to equal priors; ECE has 10 bins and is too high on few clips. The calibration "
        "was fitted on val, so what val says of it flatters.",
    )
    for modality, part in report["modalities"].items():
        yield from _modality(modality, part)
    if "ensemble" in report:
        yield from _ensemble(report["ensemble"])
    yield Block("h2", "What was measured")
    yield Block("table", rows=[["artifact", "SHA-256", "MiB"], *_artifacts(report)])
    data = [[name, one["clips"], one["sha256"]] for name, one in report.get("data", {}).items()]
    yield Block("table", rows=[["data", "clips", "SHA-256 over contents, classes, splits and groups"], *data])


def _artifacts(report: Mapping) -> list[list[object]]:
    return [
        [name, one["sha256"], f"{one['size_bytes'] / 2**20:.1f}"]
        for part in report["modalities"].values()
        for name, one in part["artifacts"].items()
    ]


def _modality(modality: str, part: Mapping) -> Iterator[Block]:
    yield Block("h2", modality.capitalize())
    rows = []
    for split, one in part["splits"].items():
        rows += [(split, name, found) for name, found in one["models"].items()]
        rows += [(split, "metadata baseline", one["metadata_baseline"])] if "metadata_baseline" in one else []
    yield Block("table", rows=_measures(rows))
    for split, one in part["splits"].items():
        if one["refused"]:
            left_out = ", ".join(f"{count} {code}" for code, count in one["refused"].items())
            yield Block("p", f"Left out of {split}, as serving would refuse them: {left_out}.")
        curves = {name: found["roc"] for name, found in one["models"].items()}
        yield Block("image", f"ROC, {modality}, {split}", svg=plots.roc(f"ROC, {split}", curves))
    yield from _calibration(modality, part)
    if "anomaly" in part:
        yield from _anomaly(modality, part["anomaly"])
    if "robustness" in part:
        yield from _robustness(modality, part["robustness"])
    for split, one in part["splits"].items():
        first, found = next(iter(one["models"].items()))
        yield Block("h3", f"{first} by generator, {split}")
        yield Block(
            "p", "A system's fakes against all real clips of the split; flagged: the share that counts as fake."
        )
        yield Block("table", rows=[["system", "clips", "flagged", "ROC-AUC"], *_parts(found["by_system"])])
        yield Block("h3", f"{first} by source, {split}")
        within = found["within_source"]
        yield Block(
            "p", f"Within sources that hold both classes: AUC {_number(within['auc'])}, {within['pairs']} pairs."
        )
        header = ["source", "clips", "fake", "flagged", "ROC-AUC"]
        yield Block("table", rows=[header, *_parts(found["by_source"], "fake")])


def _parts(parts: Mapping, *more: str) -> list[list[object]]:
    return [
        [name, one["clips"], *(one[key] for key in more), _number(one["flagged"]), _estimate(one.get("auc"))]
        for name, one in parts.items()
    ]


def _calibration(modality: str, part: Mapping) -> Iterator[Block]:
    yield Block("h3", f"Calibration, {modality}")
    yield Block(
        "p",
        "P(fake) is calibrated to equal priors, so it is the ECE with equal priors (both classes weighing alike) that "
        "says how well; the plain one also says how far the clips are from half fake. After: the artifact's own "
        "calibration. "
        "Cross-fitted: the same kind, fitted to four fifths of the groups and measured on the fifth, in turns. By "
        "chance: the ECE with equal priors that scores which are exactly right would show on so few clips.",
    )
    rows: list[list[object]] = [["split", "model", "stage", "ECE", "ECE with equal priors", "by chance", "Cllr (bits)"]]
    for split, one in part["splits"].items():
        for name, found in one["models"].items():
            fitted = found["calibration"]
            how = f"{fitted['method']}: temperature {fitted['temperature']:g}, bias {fitted['bias']:g}"
            for stage, title in (("before", "before"), ("after", f"after ({how})"), ("crossfit", "cross-fitted")):
                if stage in fitted:
                    cells = [fitted[stage]["ece"], fitted[stage]["ece_balanced"], fitted["by_chance"]]
                    rows.append([split, name, title, *map(_number, [*cells, fitted[stage]["cllr"]])])
    yield Block("table", rows=rows)
    kinds = [
        [split, name, method, *map(_number, (at["ece"], at["ece_balanced"], at["cllr"]))]
        for split, one in part["splits"].items()
        for name, found in one["models"].items()
        for method, at in found["calibration"]["methods"].items()
    ]
    if kinds:
        yield Block(
            "p", "The kinds of calibration, cross-fitted. Publishing chooses by val's Cllr; isotonic is not served."
        )
        yield Block("table", rows=[["split", "model", "kind", "ECE", "ECE with equal priors", "Cllr (bits)"], *kinds])
    for split, one in part["splits"].items():
        name, found = next(iter(one["models"].items()))
        title = f"Reliability, {name}, {split}"
        yield Block("image", title, svg=plots.reliability(title, found["calibration"]))
    if part["thresholds"]:
        yield Block("h3", f"Thresholds for a stated false-alarm rate, {modality}")
        yield Block("p", "Chosen on the real clips of val; a rate below one clip's share lets none of them through.")
        yield _thresholds(part["thresholds"])


def _thresholds(chosen_of: Mapping[str, Sequence[Mapping]]) -> Block:
    rows: list[list[object]] = [["model", "FPR wanted", "threshold", "split", "FPR", "TPR"]]
    for name, chosen in chosen_of.items():
        for one in chosen:
            for split, at in one["splits"].items():
                metrics = [_number(one["threshold"]), split, _number(at["fpr"]), _number(at["tpr"])]
                rows.append([name, f"{one['false_alarm_rate']:.0%}", *metrics])
    return Block("table", rows=rows)


def _anomaly(modality: str, found: Mapping) -> Iterator[Block]:
    yield Block("h3", f"Anomaly score, {modality}")
    yield Block(
        "p",
        "Media that are neither faces nor speech, against the clips of the first split; warned: the share that an "
        "answer warns of. Of ordinary clips none should be. A new system's fakes are told from a known one's where "
        "their AUROC is well above one half.",
    )
    rows = [["model", "media", "files", "AUROC", "warned"]]
    for name, one in found.items():
        for kind, at in one["kinds"].items():
            rows.append([name, kind, at["files"], _number(at["auroc"]), f"{at['warned']:.0%}"])
        for split, parts in one["splits"].items():
            for part, at in parts.items():
                rows.append([name, f"{split}: {part}", at["clips"], _number(at.get("auroc")), f"{at['warned']:.0%}"])
    yield Block("table", rows=rows)


def _robustness(modality: str, found: Mapping) -> Iterator[Block]:
    yield Block("h3", f"Robustness, {modality}")
    yield Block("p", f"{found['clips']} clips, both classes alike; the media were damaged, then scored as any other.")
    title = f"{modality}: AUC by damage"
    yield Block("image", title, svg=plots.robustness(title, found["damage"]))
    yield Block(
        "table", rows=[["damage", "level", "model", "clips", "ROC-AUC", "balanced accuracy"], *_curves(found["damage"])]
    )
    if found["attacks"]:
        yield Block(
            "p",
            f"By an attacker who has the weights; budgets in {found['budget_unit']}, on the network's input. "
            "Random signs move each value as far, but by lot.",
        )
        title = f"{modality}: AUC under attack"
        yield Block("image", title, svg=plots.robustness(title, found["attacks"]))
        header = ["attack", "budget", "model", "clips", "ROC-AUC", "balanced accuracy"]
        yield Block("table", rows=[header, *_curves(found["attacks"])])


def _curves(axes_of: Mapping) -> list[list[object]]:
    return [
        [
            axis,
            "clean" if point["level"] is None else f"{point['level']:g}",
            name,
            point["clips"],
            *(_estimate(point.get(key)) for key in ("auc", "balanced_accuracy")),
        ]
        for axis, curves in axes_of.items()
        for name, points in curves.items()
        for point in points
    ]


def _ensemble(part: Mapping) -> Iterator[Block]:
    yield Block("h2", "Ensemble")
    variants = ", ".join(part["variants"].values())
    yield Block(
        "p",
        f"Video and audio clips of the same class, muxed and judged by the engine that serves ({variants}). "
        "Picture and sound of a pair were forged by systems that have nothing to do with each other. "
        "Resampled by the group of the picture. "
        f"Left out, for one of both could not be scored: {sum(part['left_out'].values())}.",
    )
    yield Block(
        "table", rows=_measures([(s, name, one) for s, found in part["splits"].items() for name, one in found.items()])
    )
    if "fusion" in part:
        yield Block("p", "Weights fitted on val's pairs beside the configured ones, which stay in force:")
        rows = [["weights", "video", "audio", "log-loss (nats)", "ROC-AUC", "balanced accuracy"]]
        for name, one in part["fusion"].items():
            weights = [_number(one["weights"][modality]) for modality in ("video", "audio")]
            rows.append([name, *weights, *(_number(one[key]) for key in ("log_loss", "auc", "balanced_accuracy"))])
        yield Block("table", rows=rows)
    if part.get("thresholds"):
        yield Block("p", "Thresholds for a stated false-alarm rate, chosen on val's pairs (`fusion_threshold`):")
        yield _thresholds({"ensemble": part["thresholds"]})


def _measures(rows: Sequence[tuple[str, str, Mapping]]) -> list[list[object]]:
    header = ["split", "model", "clips", "fake", "groups", *MEASURE_NAMES.values()]
    return [header] + [
        [split, name, *found["counts"].values(), *(_estimate(found["measures"].get(key)) for key in MEASURE_NAMES)]
        for split, name, found in rows
    ]


def _estimate(one: Mapping | None) -> str:
    return "" if one is None else f"{one['value']:.3f} [{one['low']:.3f}, {one['high']:.3f}]"


def _number(value: float | None) -> str:
    return "-" if value is None else f"{value:.3f}"


def _markdown(block: Block) -> str:
    if block.kind == "table":
        header, *rows = block.rows
        lines = [header, ["---"] * len(header), *rows]
        return "\n".join("| " + " | ".join(str(cell).replace("|", "\\|") for cell in line) + " |" for line in lines)
    marks = {"h1": "# ", "h2": "## ", "h3": "### ", "p": "", "note": "> "}
    return "" if block.kind == "image" else marks[block.kind] + block.text


def _numeric_columns(rows: Sequence[Sequence[object]]) -> set[int]:
    """Indices of the columns that hold numbers alone."""
    return {index for index in range(len(rows[0]) if rows else 0) if all(_is_number(row[index]) for row in rows)}


def _is_number(cell: object) -> bool:
    text = str(cell)
    return bool(_NUMERIC.fullmatch(text) or _ESTIMATE.fullmatch(text))


def _estimate_parts(cell: str) -> tuple[str, str] | None:
    """An estimate's value and its interval, which stands below it."""
    found = _ESTIMATE.fullmatch(cell)
    return (found[1], found[2]) if found else None
