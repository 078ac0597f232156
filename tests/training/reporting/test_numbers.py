"""README, model cards and archives say what the stored report says."""

from __future__ import annotations

import copy
import json
from pathlib import Path

import pytest

from archives.build import _figures
from model_defs.networks.weights import sha256_of
from training.exporting.model_card import FIGURES_END, FIGURES_START
from training.reporting.numbers import ACCURACY, STORED, NumbersError, fill, main, stored_metrics, texts

ROOT = Path(__file__).parents[3]
ESTIMATE = {"value": 0.8125, "low": 0.7, "high": 1.0}
MODEL = {
    "counts": {"clips": 50, "fake": 18, "groups": 40},
    "measures": dict.fromkeys(("auc", "eer", "balanced_accuracy", "ece"), ESTIMATE),
    "calibration": {
        "method": "platt",
        "temperature": 1.5,
        "bias": 0.25,
        "by_chance": 0.125,
        **{stage: {"ece": 0.3, "ece_balanced": 0.2, "cllr": 0.9, "counts": [1]} for stage in ("before", "after")},
        "methods": {},
    },
    "by_source": {"somebody": {}},
    "roc": {},
    "operating_points": {"thresholds": [0.0, 0.5], "tpr": [1.0, 0.75], "fpr": [1.0, 0.125]},
}
MACHINE = {"date": "2026-11-24", "hardware": "a CPU", "torch_threads": 1, "versions": {"torch": "2.8.0+cu128"}}


@pytest.fixture
def project(tmp_path) -> Path:
    """A README, a page of results and the card of one set of weights, with marks and nothing between them."""
    folder = tmp_path / "weights" / "audio"
    folder.mkdir(parents=True)
    (folder / "model.safetensors").write_bytes(b"weights")
    (tmp_path / "docs").mkdir()
    for path in (tmp_path / "docs" / "results.md", folder / "MODEL_CARD.md"):
        path.write_text(f"before\n\n{FIGURES_START}\n{FIGURES_END}\n\nafter\n")
    sentence = "\n".join(ACCURACY)
    (tmp_path / "README.md").write_text(f"before\n\n{sentence}\n\n{FIGURES_START}\n{FIGURES_END}\n\nafter\n")
    return tmp_path


@pytest.fixture
def report(project) -> dict:
    digest = sha256_of(project / "weights" / "audio" / "model.safetensors")
    baseline = {"counts": MODEL["counts"], "measures": MODEL["measures"]}
    kinds = {"music": {"files": 20, "auroc": 0.995, "warned": 1.0}}
    artifact = {
        "sha256": "0",
        "weights_sha256": digest,
        "network": "a_net",
        "size_bytes": 3 * 2**19,
        "forward_ms": 1.42,
    }
    artifact["measured_on"] = {"date": "2026-11-23", "hardware": "a CPU"}
    part = {
        "artifacts": {"audio fp32": artifact, "audio int8": artifact},
        "splits": {
            "val": {"models": {"audio fp32": MODEL, "audio int8": MODEL}, "metadata_baseline": baseline, "refused": {}},
        },
        "thresholds": {},
        "anomaly": {"audio int8": {"kinds": kinds, "splits": {"val": {"real": {"clips": 32, "warned": 0.0}}}}},
    }
    ensemble = {"variants": {"audio": "audio int8"}, "splits": {"val": {"ensemble": baseline}}, "left_out": {}}
    return {
        "machine": MACHINE,
        "quick": False,
        "splits": ["val"],
        "data": {},
        "notes": [],
        "modalities": {"audio": part},
        "ensemble": ensemble,
    }


def test_the_command_writes_one_set_of_figures_everywhere(project, report, tmp_path):
    (tmp_path / "report.json").write_text(json.dumps(report))
    main(["--report", str(tmp_path / "report.json"), "--root", str(project)])
    readme, results, card = (project / name for name in ("README.md", "docs/results.md", "weights/audio/MODEL_CARD.md"))
    row = "| audio int8 | val | 50 | .812 [.700, 1.000] | .812 [.700, 1.000] | .812 [.700, 1.000] |"
    for path in (results, card):
        assert row in path.read_text()
    for path in (readme, results, card):
        assert path.read_text().startswith("before\n")
        assert path.read_text().endswith("after\n")
    assert "| ensemble (audio int8) | val | 50 |" in results.read_text()
    assert "| `audio` | `a_net` | .812 [.700, 1.000] | 1.4 ms | 1.5 MiB |" in readme.read_text()
    assert "one thread, a CPU, 2026-11-23" in readme.read_text()
    assert "On validation clips, balanced accuracy is 81% for audio, 81% for both together" in readme.read_text()
    assert "| audio int8 | val | after | 0.300 | 0.200 | 0.125 | 0.900 |" in card.read_text()
    assert "| audio int8 | music | 20 | 0.995 | 100% |" in card.read_text()
    stored = (project / STORED).read_text()
    assert "somebody" not in stored
    assert '"tpr": [1.0, 0.75]' in stored  # a list on one line
    before = {path: path.read_text() for path in (readme, results, card)}
    assert texts(json.loads(stored), project) == before  # and writing it again changes nothing

    digest = sha256_of(project / "weights" / "audio" / "model.safetensors")
    archived = _figures(project, "audio", {"weights_sha256": digest})
    assert archived["splits"]["val"]["int8"]["measures"]["auc"] == ESTIMATE
    assert _figures(project, "audio", {"weights_sha256": "other weights"})["splits"] == {}


def test_figures_of_other_weights_are_refused(project, report):
    metrics = stored_metrics(report)
    (project / "weights" / "audio" / "model.safetensors").write_bytes(b"newer weights")
    with pytest.raises(NumbersError, match="no audio model with the weights"):
        texts(metrics, project)


def test_a_light_model_that_was_not_evaluated_keeps_its_card(project, report):
    light = project / "weights" / "audio-light"
    light.mkdir()
    (light / "model.safetensors").write_bytes(b"light weights")
    card = light / "MODEL_CARD.md"
    card.write_text(f"{FIGURES_START}\nas published\n{FIGURES_END}\n")
    metrics = stored_metrics(report)
    assert card not in texts(metrics, project)
    metrics["modalities"]["audio"]["weights_sha256"]["audio int8"] = sha256_of(light / "model.safetensors")
    (project / "weights" / "audio" / "MODEL_CARD.md").unlink()
    assert "| audio int8 | val | 50 |" in texts(metrics, project)[card]


@pytest.mark.parametrize("change", [{"quick": True}, {"splits": ["test"]}])
def test_a_quick_report_or_one_without_val_is_not_published(report, change):
    with pytest.raises(NumbersError, match="a whole run"):
        stored_metrics(copy.deepcopy(report) | change)


def test_a_text_needs_one_place_for_figures():
    with pytest.raises(NumbersError, match="0 places"):
        fill("nothing\n", "tables", "README.md")


@pytest.mark.skipif(not (ROOT / STORED).exists(), reason="no metrics are stored: make evaluate, make numbers")
def test_committed_texts_say_what_the_stored_metrics_say():
    for path, text in texts(json.loads((ROOT / STORED).read_text()), ROOT).items():
        assert path.read_text(encoding="utf-8") == text, path.name
