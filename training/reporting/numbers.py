"""One source for every figure: README, model cards and archives take theirs from the report of one evaluation.

    python -m training.reporting.numbers                  # after make evaluate SPLIT="val test": make numbers
    python -m training.reporting.numbers --report build/evaluation/report.json

Keeps the figures of build/evaluation/report.json as weights/report.json, and writes them into README.md and the model
cards between the marks `<!-- figures -->` and `<!-- /figures -->`; what stands around those is by hand.
`archives.build` puts the same figures into each archive's manifest, by the digest of the weights that they are of.
"""

from __future__ import annotations

import argparse
import json
import re
from collections.abc import Mapping, Sequence
from pathlib import Path

from model_defs.networks.weights import sha256_of
from training.exporting.model_card import FIGURES_END, FIGURES_START, table
from training.reporting.report import DEFAULT_OUTPUT

STORED = Path("weights/report.json")
SHOWN = {"auc": "ROC-AUC", "eer": "EER", "balanced_accuracy": "balanced accuracy"}
CALIBRATION_STAGES = ("before", "after", "crossfit")
CALIBRATION_KEYS = ("ece", "ece_balanced", "cllr")
_MARKED = re.compile(f"(?<={re.escape(FIGURES_START)}\n).*?(?={re.escape(FIGURES_END)})", re.DOTALL)


class NumbersError(ValueError):
    """The report is not one that figures can be published from, or a text has no place for them."""


def stored_figures(report: Mapping) -> dict:
    """The part of a report that is published: figures, digests and the machine; no clip, source or system is named.

    Raises:
        NumbersError: it is of a quick run, or does not hold val.
    """
    if report["quick"] or "val" not in report["splits"]:
        raise NumbersError('publish the figures of a whole run that holds val: make evaluate SPLIT="val test"')
    kept: dict = {"machine": report["machine"], "splits": report["splits"], "data": report["data"], "modalities": {}}
    for modality, part in report["modalities"].items():
        splits = {
            split: {
                "models": {name: _model(found) for name, found in one["models"].items()},
                **({"floor": _measures(one["floor"])} if "floor" in one else {}),
            }
            for split, one in part["splits"].items()
        }
        kept["modalities"][modality] = {
            "weights_sha256": {name: one["weights_sha256"] for name, one in part["artifacts"].items()},
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
    return {**_measures(found), "calibration": calibration}


def _measures(found: Mapping) -> dict:
    return {"counts": found["counts"], "measures": found["measures"]}


def readme_tables(figures: Mapping) -> str:
    """What each model is worth, by split, and the same of metadata alone and of the ensemble."""
    rows = [row for modality in sorted(figures["modalities"], reverse=True) for row in _rows(figures, modality)]
    variants = ", ".join(figures.get("ensemble", {}).get("variants", {}).values())
    for split, found in _in_order(figures, figures.get("ensemble", {}).get("splits", {})):
        rows.append([f"ensemble ({variants})", *_cells(split, found["ensemble"])])
    return "\n" + table(["model", "split", "clips", *SHOWN.values()], rows) + "\n\n" + _machine(figures) + "\n"


def card_tables(figures: Mapping, modality: str, weights_sha256: str) -> str:
    """The figures of one set of weights: what it is worth, how far its P(fake) can be trusted, what is unlike it."""
    part = figures["modalities"][modality]
    mine = [name for name, digest in part["weights_sha256"].items() if digest == weights_sha256]
    if not mine:
        raise NumbersError(f"the figures hold no {modality} model with the weights {weights_sha256[:12]}")
    worth = table(["model", "split", "clips", *SHOWN.values()], _rows(figures, modality, mine))
    calibrated = []
    for split, one in _in_order(figures, part["splits"]):
        for name in mine:
            found = one["models"][name]["calibration"]
            for stage in CALIBRATION_STAGES:
                if stage in found:
                    cells = [f"{found[stage][key]:.3f}" for key in CALIBRATION_KEYS]
                    calibrated.append([name, split, stage.replace("crossfit", "cross-fitted"), *cells])
                    calibrated[-1].insert(5, f"{found['by_chance']:.3f}")
    header = ["model", "split", "calibration", "ECE as it is", "ECE at even odds", "by chance", "Cllr (bits)"]
    text = f"\n{worth}\n\n{table(header, calibrated)}\n"
    strange = [
        [name, kind, at["files"], f"{at['auroc']:.3f}", f"{at['warned']:.0%}"]
        for name in mine
        for kind, at in part["anomaly"].get(name, {}).get("kinds", {}).items()
    ]
    strange += [
        [name, f"{split}: {kind}", at["clips"], f"{at['auroc']:.3f}" if "auroc" in at else "", f"{at['warned']:.0%}"]
        for name in mine
        for split, kinds in _in_order(figures, part["anomaly"].get(name, {}).get("splits", {}))
        for kind, at in kinds.items()
    ]
    if strange:
        text += f"\n{table(['model', 'anomaly score on', 'files', 'AUROC', 'warned'], strange)}\n"
    return f"{text}\n{_machine(figures)}\n"


def _rows(figures: Mapping, modality: str, names: Sequence[str] | None = None) -> list[list[object]]:
    rows = []
    for split, one in _in_order(figures, figures["modalities"][modality]["splits"]):
        rows += [[name, *_cells(split, found)] for name, found in one["models"].items() if not names or name in names]
        if "floor" in one:
            rows.append([f"*metadata alone*, {modality}", *_cells(split, one["floor"])])
    return rows


def _in_order(figures: Mapping, splits: Mapping) -> list[tuple[str, Mapping]]:
    """Splits as they were asked for: JSON has sorted them."""
    return [(split, splits[split]) for split in figures["splits"] if split in splits]


def _cells(split: str, found: Mapping) -> list[object]:
    estimates = [found["measures"].get(key) for key in SHOWN]
    shown = ["" if one is None else f"{one['value']:.3f} [{one['low']:.3f}, {one['high']:.3f}]" for one in estimates]
    return [split, found["counts"]["clips"], *(cell.replace("0.", ".") for cell in shown)]


def _machine(figures: Mapping) -> str:
    machine = figures["machine"]
    return f"Measured on {machine['date']} by `make evaluate`, torch {machine['versions']['torch'].partition('+')[0]}."


def fill(text: str, tables: str, where: str) -> str:
    """The text with the tables between its marks.

    Raises:
        NumbersError: there are no marks, or several pairs.
    """
    filled, n_places = _MARKED.subn(lambda _: tables, text)
    if n_places != 1:
        raise NumbersError(f"{where} has {n_places} places {FIGURES_START} ... {FIGURES_END}; it needs one")
    return filled


def texts(figures: Mapping, root: Path) -> dict[Path, str]:
    """README.md and the model card of every set of weights below `root`, as these figures want them.

    The card of a light model that they do not hold keeps the figures that publishing gave it.

    Raises:
        NumbersError: figures of some weights are missing, or a place for them.
    """
    readme = root / "README.md"
    filled = {readme: fill(readme.read_text(encoding="utf-8"), readme_tables(figures), "README.md")}
    for card in sorted(root.glob("weights/*/MODEL_CARD.md")):
        modality = card.parent.name.partition("-")[0]
        digest = sha256_of(card.parent / "model.safetensors")
        if card.parent.name != modality and digest not in figures["modalities"][modality]["weights_sha256"].values():
            continue
        tables = card_tables(figures, modality, digest)
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
        figures = stored_figures(json.loads(options.report.read_text(encoding="utf-8")))
        filled = texts(figures, options.root)
    except (OSError, NumbersError) as error:
        raise SystemExit(f"{parser.prog}: {error}") from None
    (options.root / STORED).write_text(json.dumps(figures, indent=1, sort_keys=True) + "\n", encoding="utf-8")
    for path, text in filled.items():
        path.write_text(text, encoding="utf-8")
    print("written:", ", ".join(str(path) for path in [STORED, *filled]))


if __name__ == "__main__":
    main()
