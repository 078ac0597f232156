"""One source for every metric: README, docs, model cards and archives take theirs from the report of one evaluation.

    python -m training.reporting.numbers                  # after make evaluate SPLIT="val test": make numbers
    python -m training.reporting.numbers --report build/evaluation/report.json

Keeps the metrics of build/evaluation/report.json as weights/report.json. Writes one row a model and the answer to the
sample clip into README.md, every variant and split into docs/results.md, and each model's own into its card: between
marks such as `<!-- figures -->` and `<!-- /figures -->`; what stands around those is by hand.
`archives.build` puts the same metrics into each archive's manifest, by the digest of the weights that they are of.
"""

from __future__ import annotations

import argparse
import json
import re
import textwrap
from collections.abc import Mapping, Sequence
from pathlib import Path

from model_defs.networks.weights import sha256_of
from training.evaluation.report_tables import COVERAGES
from training.exporting.model_card import FIGURES_END, FIGURES_START, table
from training.reporting.report import DEFAULT_OUTPUT
from training.reporting.sample_answer import SAMPLE, sample_answer

STORED = Path("weights/report.json")
README, RESULTS = Path("README.md"), Path("docs/results.md")
SHOWN = {"auc": "ROC-AUC", "eer": "EER", "balanced_accuracy": "balanced accuracy"}
CALIBRATION_STAGES = ("before", "after", "crossfit")
CURVE_KEYS = ("operating_points", "reliability")  # what the console shows of a threshold and a probability
CALIBRATION_KEYS = ("ece", "ece_balanced", "cllr")
SPLIT_NAMES = {"val": "validation", "test": "unseen generators", "val2": "second validation set"}  # in the README
MEASURED_ON = {
    "val": "validation clips",
    "test": "people and generators that training has not seen",
    "val2": "the second validation set",
}
ARTIFACT_KEYS = ("network", "size_bytes", "forward_ms", "measured_on")
_REFERENCE = "fp32"  # the variant that the README's table shows
ACCURACY = ("<!-- accuracy: `make numbers` writes it -->", "<!-- /accuracy -->")
ANSWER = ("<!-- answer: `make numbers` writes it -->", "<!-- /answer -->")
FIGURES = (FIGURES_START, FIGURES_END)


class NumbersError(ValueError):
    """The report is not one that metrics can be published from, or a text has no place for them."""


def stored_metrics(report: Mapping) -> dict:
    """The part of a report that is published: metrics, digests and the machine; no clip, source or system is named.

    Raises:
        NumbersError: it is of a quick run, or does not hold val.
    """
    if report["quick"] or "val" not in report["splits"]:
        raise NumbersError('publish the metrics of a whole run that holds val: make evaluate SPLIT="val test"')
    kept: dict = {"machine": report["machine"], "splits": report["splits"], "data": report["data"], "modalities": {}}
    for modality, part in report["modalities"].items():
        splits = {
            split: {
                "models": {name: _model(found) for name, found in one["models"].items()},
                **({"metadata_baseline": _measures(one["metadata_baseline"])} if "metadata_baseline" in one else {}),
            }
            for split, one in part["splits"].items()
        }
        kept["modalities"][modality] = {
            "weights_sha256": {name: one["weights_sha256"] for name, one in part["artifacts"].items()},
            "artifacts": {name: {key: one[key] for key in ARTIFACT_KEYS} for name, one in part["artifacts"].items()},
            "splits": splits,
            "anomaly": part.get("anomaly", {}),
            "thresholds": part["thresholds"],
        }
    if "ensemble" in report:
        ensemble = report["ensemble"]
        kept["ensemble"] = {
            "variants": ensemble["variants"],
            "splits": {
                split: {name: _measures(found) for name, found in rows.items()}
                for split, rows in ensemble["splits"].items()
            },
            **({"fusion": ensemble["fusion"]} if "fusion" in ensemble else {}),
        }
    return kept


def _model(found: Mapping) -> dict:
    fitted = found["calibration"]
    calibration = {key: fitted[key] for key in ("method", "temperature", "bias", "by_chance")}
    calibration |= {
        stage: {key: fitted[stage][key] for key in CALIBRATION_KEYS} for stage in CALIBRATION_STAGES if stage in fitted
    }
    rows = {name: _measures(one) for name, one in found.get("generators", {}).items()}
    return {**_measures(found), "calibration": calibration, "generators": rows, "selective": found.get("selective", [])}


def _measures(found: Mapping) -> dict:
    curves = {key: found[key] for key in CURVE_KEYS if key in found}
    return {"counts": found["counts"], "measures": found["measures"], **curves}


def _json(metrics: Mapping) -> str:
    """Indented, but lists of numbers on one line: a curve has hundreds."""
    text = json.dumps(metrics, indent=1, sort_keys=True)
    return re.sub(
        r"\[[-+\d.e,\s]+\]", lambda found: re.sub(r"\s+", " ", found[0]).replace("[ ", "[").replace(" ]", "]"), text
    )


def readme_table(metrics: Mapping) -> str:
    """One row a model, in fp32, and one for the ensemble: architecture, AUC of each split, forward pass, size."""
    rows, measured_on = [], {}
    for modality in sorted(metrics["modalities"], reverse=True):
        part = metrics["modalities"][modality]
        for name, one in part["artifacts"].items():
            model, _, variant = name.rpartition(" ")
            if variant == _REFERENCE:
                measured_on = one["measured_on"]
                found = {split: at["models"].get(name) for split, at in part["splits"].items()}
                aucs = [_auc(found.get(split)) for split in metrics["splits"]]
                forward = "" if one["forward_ms"] is None else f"{figure(one['forward_ms'])} ms"
                rows.append(
                    [f"`{model}`", f"`{one['network']}`", *aucs, forward, f"{one['size_bytes'] / 2**20:.1f} MiB"]
                )
    if "ensemble" in metrics:
        of_pairs = metrics["ensemble"]["splits"]
        aucs = [_auc(of_pairs.get(split, {}).get("ensemble")) for split in metrics["splits"]]
        rows.append(["`ensemble`", "weighted mean of `video` and `audio`", *aucs, "", ""])
    splits = [f"AUC, {SPLIT_NAMES.get(split, split)}" for split in metrics["splits"]]
    header = ["model", "architecture", *splits, "forward pass", "size"]
    where = "fp32; every variant and metric, the metadata baseline beside them: [results](docs/results.md).\n"
    if measured_on:
        forward = "Forward pass of ten frames, or of one window of audio: one thread"
        where = f"{forward}, {measured_on['hardware']}, {measured_on['date']};\n{where}"
    return f"\n{table(header, rows)}\n\n{_machine(metrics)}\n{where}"


def accuracy_sentence(metrics: Mapping) -> str:
    """How often the models are right on unseen generators or, where that split was not opened, on the last one."""
    split = "test" if "test" in metrics["splits"] else metrics["splits"][-1]
    found = {
        modality: part["splits"].get(split, {"models": {}})["models"].get(f"{modality} {_REFERENCE}")
        for modality, part in sorted(metrics["modalities"].items(), reverse=True)
    }
    found["both together"] = metrics.get("ensemble", {}).get("splits", {}).get(split, {}).get("ensemble")
    shown = [
        f"{one['measures']['balanced_accuracy']['value']:.0%} for {name}"
        for name, one in found.items()
        if one is not None
    ]
    text = f"On {MEASURED_ON.get(split, split)}, balanced accuracy is {', '.join(shown)}: a hint for a reviewer, "
    return f"{textwrap.fill(text + 'not evidence.', 118)}\n"


def figure(value: float) -> str:
    """Two digits that matter: `0.52`, `1.4`, `48`."""
    return f"{value:.0f}" if value >= 10 else f"{value:.2g}"


def results_tables(metrics: Mapping) -> str:
    """What each variant is worth, by split, and the same of metadata alone and of the ensemble."""
    rows = [row for modality in sorted(metrics["modalities"], reverse=True) for row in _rows(metrics, modality)]
    variants = ", ".join(metrics.get("ensemble", {}).get("variants", {}).values())
    for split, found in _in_order(metrics, metrics.get("ensemble", {}).get("splits", {})):
        rows.append([f"ensemble ({variants})", *_cells(split, found["ensemble"])])
    return "\n" + table(["model", "split", "clips", *SHOWN.values()], rows) + "\n\n" + _machine(metrics) + "\n"


def card_tables(metrics: Mapping, modality: str, weights_sha256: str) -> str:
    """The metrics of one set of weights: what it is worth, how far its P(fake) can be trusted, what is unlike it."""
    part = metrics["modalities"][modality]
    mine = [name for name, digest in part["weights_sha256"].items() if digest == weights_sha256]
    if not mine:
        raise NumbersError(f"the metrics hold no {modality} model with the weights {weights_sha256[:12]}")
    worth = table(["model", "split", "clips", *SHOWN.values()], _rows(metrics, modality, mine))
    calibrated = []
    for split, one in _in_order(metrics, part["splits"]):
        for name in mine:
            found = one["models"][name]["calibration"]
            for stage in CALIBRATION_STAGES:
                if stage in found:
                    cells = [f"{found[stage][key]:.3f}" for key in CALIBRATION_KEYS]
                    calibrated.append([name, split, stage.replace("crossfit", "cross-fitted"), *cells])
                    calibrated[-1].insert(5, f"{found['by_chance']:.3f}")
    by_generators = [
        [name, f"{split}, {kind} generators", *_cells("", row)[1:]]
        for split, one in _in_order(metrics, part["splits"])
        for name in mine
        for kind, row in one["models"][name].get("generators", {}).items()
    ]
    if by_generators:
        worth += f"\n\n{table(['model', 'fakes by', 'clips', *SHOWN.values()], by_generators)}"
    selective = [
        [name, split, *(f"{at['balanced_accuracy']:.1%}" for at in found["selective"])]
        for split, one in _in_order(metrics, part["splits"])
        for name, found in one["models"].items()
        if name in mine and found.get("selective")
    ]
    if selective:
        shares = [f"the surest {share:.0%}" for share in COVERAGES]
        worth += f"\n\n{table(['balanced accuracy of', 'split', *shares], selective)}"
    header = ["model", "split", "calibration", "ECE", "ECE, equal priors", "by chance", "Cllr (bits)"]
    text = f"\n{worth}\n\n{table(header, calibrated)}\n"
    strange = [
        [name, kind, at["files"], f"{at['auroc']:.3f}", f"{at['warned']:.0%}"]
        for name in mine
        for kind, at in part["anomaly"].get(name, {}).get("kinds", {}).items()
    ]
    strange += [
        [name, f"{split}: {kind}", at["clips"], f"{at['auroc']:.3f}" if "auroc" in at else "", f"{at['warned']:.0%}"]
        for name in mine
        for split, kinds in _in_order(metrics, part["anomaly"].get(name, {}).get("splits", {}))
        for kind, at in kinds.items()
    ]
    if strange:
        text += f"\n{table(['model', 'anomaly score on', 'files', 'AUROC', 'warned'], strange)}\n"
    return f"{text}\n{_machine(metrics)}\n"


def _rows(metrics: Mapping, modality: str, names: Sequence[str] | None = None) -> list[list[object]]:
    rows = []
    for split, one in _in_order(metrics, metrics["modalities"][modality]["splits"]):
        rows += [[name, *_cells(split, found)] for name, found in one["models"].items() if not names or name in names]
        if "metadata_baseline" in one:
            rows.append([f"*metadata baseline*, {modality}", *_cells(split, one["metadata_baseline"])])
    return rows


def _in_order(metrics: Mapping, splits: Mapping) -> list[tuple[str, Mapping]]:
    """Splits as they were asked for: JSON has sorted them."""
    return [(split, splits[split]) for split in metrics["splits"] if split in splits]


def _auc(found: Mapping | None) -> str:
    estimate = found["measures"].get("auc") if found else None
    return _estimate(estimate) if estimate else ""


def _cells(split: str, found: Mapping) -> list[object]:
    estimates = [found["measures"].get(key) for key in SHOWN]
    return [split, found["counts"]["clips"], *("" if one is None else _estimate(one) for one in estimates)]


def _estimate(one: Mapping) -> str:
    return f"{one['value']:.3f} [{one['low']:.3f}, {one['high']:.3f}]".replace("0.", ".")


def _machine(metrics: Mapping) -> str:
    machine = metrics["machine"]
    return f"Measured on {machine['date']} by `make evaluate`, torch {machine['versions']['torch'].partition('+')[0]}."


def fill(text: str, written: str, where: str, marks: tuple[str, str] = FIGURES) -> str:
    """The text with what was written between its marks.

    Raises:
        NumbersError: there are no marks, or several pairs.
    """
    start, end = marks
    marked = re.compile(f"(?<={re.escape(start)}\n).*?(?={re.escape(end)})", re.DOTALL)
    filled, n_places = marked.subn(lambda _: written, text)
    if n_places != 1:
        raise NumbersError(f"{where} has {n_places} places {start} ... {end}; it needs one")
    return filled


def texts(metrics: Mapping, root: Path) -> dict[Path, str]:
    """README.md, docs/results.md and the model card of every set of weights below `root`, as these metrics want them.

    The card of a light model that they do not hold keeps the metrics that publishing gave it.

    Raises:
        NumbersError: metrics of some weights are missing, or a place for them.
    """
    readme, results = root / README, root / RESULTS
    text = fill(readme.read_text(encoding="utf-8"), readme_table(metrics), str(README))
    filled = {
        readme: fill(text, accuracy_sentence(metrics), str(README), ACCURACY),
        results: fill(results.read_text(encoding="utf-8"), results_tables(metrics), str(RESULTS)),
    }
    for card in sorted(root.glob("weights/*/MODEL_CARD.md")):
        modality = card.parent.name.partition("-")[0]
        digest = sha256_of(card.parent / "model.safetensors")
        if card.parent.name != modality and digest not in metrics["modalities"][modality]["weights_sha256"].values():
            continue
        tables = card_tables(metrics, modality, digest)
        filled[card] = fill(card.read_text(encoding="utf-8"), tables, str(card))
    return filled


def main(argv: Sequence[str] | None = None) -> None:
    """The command line."""
    parser = argparse.ArgumentParser(
        prog="python -m training.reporting.numbers",
        description=__doc__,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument("--report", type=Path, default=DEFAULT_OUTPUT / "report.json", help="default: %(default)s")
    parser.add_argument("--root", type=Path, default=Path(), help="of the project; default: where this is run")
    options = parser.parse_args(argv)
    try:
        metrics = stored_metrics(json.loads(options.report.read_text(encoding="utf-8")))
        filled = texts(metrics, options.root)
    except (OSError, NumbersError) as error:
        raise SystemExit(f"{parser.prog}: {error}") from None
    if (clip := options.root / SAMPLE).exists():
        filled[options.root / README] = fill(filled[options.root / README], sample_answer(clip), str(README), ANSWER)
    (options.root / STORED).write_text(_json(metrics) + "\n", encoding="utf-8")
    for path, text in filled.items():
        path.write_text(text, encoding="utf-8")
    print("written:", ", ".join(str(path) for path in [STORED, *filled]))


if __name__ == "__main__":
    main()
