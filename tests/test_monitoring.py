"""What config/monitoring, config/metrics.yaml and docs/serving say of each other holds, by the real promtool."""

from __future__ import annotations

import json
import re
import shutil
import subprocess
from pathlib import Path

import pytest
import yaml

from handlers.metrics import COUNTER_LABELS
from model_defs.errors import ErrorCode

PROJECT_DIR = Path(__file__).resolve().parent.parent
MONITORING = PROJECT_DIR / "config" / "monitoring"
PAGE = (PROJECT_DIR / "docs" / "serving" / "observe.md").read_text(encoding="utf-8")
DASHBOARD = json.loads((MONITORING / "dashboard.json").read_text())
PANELS = [panel for panel in DASHBOARD["panels"] if panel["type"] != "row"]
DECLARED = yaml.safe_load((PROJECT_DIR / "config" / "metrics.yaml").read_text())
RULES = [
    rule
    for name in ("recording.yml", "alerts.yml")
    for group in yaml.safe_load((MONITORING / name).read_text())["groups"]
    for rule in group["rules"]
]
ALERTS = [rule for rule in RULES if "alert" in rule]
FUNCTIONS = {"sum", "max", "count", "rate", "increase", "abs", "time", "histogram_quantile"}
OPERATORS = {"and", "on", "by", "offset"}


def declared() -> dict[str, tuple[str, set[str]]]:
    """Metric -> type and labels, as config/metrics.yaml has them."""
    return {
        metric["name"]: (kind, set(metric["dimensions"]))
        for section in ("ts_metrics", "model_metrics")
        for kind, metrics in DECLARED[section].items()
        for metric in metrics
    }


def names(expr: str) -> set[str]:
    """Names of the metrics in a PromQL expression; histograms without their ending."""
    bare = re.sub(r"\b(by|on) \([^)]*\)|\{[^}]*\}|\[[^\]]*\]|offset \w+|\"[^\"]*\"", " ", expr)
    found = set(re.findall(r"(?<![\w:.])[a-zA-Z_:][\w:]*", bare)) - FUNCTIONS - OPERATORS
    return {re.sub(r"(_seconds|_size)_(bucket|sum|count)$", r"\1", name) for name in found}


def documented(after: str, until: str) -> dict[str, tuple[str, set[str]]]:
    section = PAGE.split(after)[1].split(until)[0]
    rows = re.findall(r"^\| (`[^|]+`) \| (\w+) \| ([^|]*)\|", section, flags=re.MULTILINE)
    return {
        name: (kind, set(re.findall(r"`([^`]+)`", labels)))
        for metrics, kind, labels in rows
        for name in re.findall(r"`([^`]+)`", metrics)
    }


def promtool(*arguments: str, **options) -> str:
    """What the real promtool says; fails when it objects."""
    if not shutil.which("promtool"):
        pytest.skip("promtool is not there: install Debian's package `prometheus`")
    done = subprocess.run(["promtool", *arguments], cwd=MONITORING, capture_output=True, text=True, **options)
    assert done.returncode == 0, done.stdout + done.stderr
    return done.stdout


def test_the_page_explains_exactly_the_metrics_that_are_declared():
    handlers = {
        name: (kind, labels - {"model_name", "model_version"})
        for name, (kind, labels) in declared().items()
        if name.startswith("deepdetect_")
    }
    assert documented("The metrics of the handlers", "TorchServe's own stay on") == handlers
    of_torchserve = {name: entry for name, entry in declared().items() if name not in handlers}
    for name in ("HandlerTime", "PredictionTime"):  # TorchServe adds the host to what a worker reports
        of_torchserve[name][1].add("Hostname")
    assert documented("TorchServe's own stay on", "Where TorchServe 0.12") == of_torchserve


def test_torchserves_own_metrics_are_all_kept():
    import ts

    own = yaml.safe_load((Path(ts.__file__).parent / "configs" / "metrics.yaml").read_text())
    for section in ("ts_metrics", "model_metrics"):
        for kind, metrics in own[section].items():
            assert [metric for metric in metrics if metric not in DECLARED[section][kind]] == []


def test_every_counter_of_the_handlers_starts_at_nought():
    counters = {metric["name"] for metric in DECLARED["model_metrics"]["counter"]}
    assert set(COUNTER_LABELS) == counters
    assert set(COUNTER_LABELS["deepdetect_refusals_total"][0]) == set(ErrorCode)


@pytest.mark.parametrize("panel", PANELS, ids=lambda panel: panel["title"])
def test_every_panel_says_what_it_shows(panel):
    assert panel["title"]
    assert panel["description"].endswith(".")
    assert panel["fieldConfig"]["defaults"]["unit"]
    assert panel["targets"]
    for target in panel["targets"]:
        assert target["expr"]
        assert target["legendFormat"]
        assert names(target["expr"]) <= set(declared()) | {rule.get("record") for rule in RULES}


def test_panels_neither_overlap_nor_share_an_id():
    cells = [
        (x, y)
        for at in (panel["gridPos"] for panel in DASHBOARD["panels"])
        for x in range(at["x"], at["x"] + at["w"])
        for y in range(at["y"], at["y"] + at["h"])
    ]
    assert len(cells) == len(set(cells))
    assert max(x for x, _ in cells) < 24
    assert len({panel["id"] for panel in DASHBOARD["panels"]}) == len(DASHBOARD["panels"])


@pytest.mark.parametrize("rule", RULES, ids=lambda rule: rule.get("alert") or rule["record"])
def test_rules_ask_only_for_what_there_is(rule):
    assert names(rule["expr"]) <= set(declared()) | {rule.get("record") for rule in RULES} | {"up"}


@pytest.mark.parametrize("alert", ALERTS, ids=lambda alert: alert["alert"])
def test_every_alert_has_a_runbook_that_is_there(alert):
    assert alert["labels"]["severity"] in {"warning", "critical"}
    assert set(alert["annotations"]) == {"summary", "description", "runbook_url"}
    page, _, anchor = alert["annotations"]["runbook_url"].partition("#")
    assert page == "docs/serving/troubleshoot.md"
    runbooks = (PROJECT_DIR / page).read_text(encoding="utf-8")
    headings = re.findall(r"^## (.*)$", runbooks, flags=re.MULTILINE)
    assert anchor in {re.sub(r"[^\w -]", "", heading.lower()).replace(" ", "-") for heading in headings}


def test_every_alert_is_tried():
    tried = yaml.safe_load((MONITORING / "alerts_test.yml").read_text())["tests"]
    fired = {case["alertname"] for test in tried for case in test.get("alert_rule_test", []) if case["exp_alerts"]}
    assert fired == {alert["alert"] for alert in ALERTS}


def test_promtool_accepts_rules_and_configuration():
    assert "SUCCESS" in promtool("check", "rules", "--lint-fatal", "recording.yml", "alerts.yml")
    assert "SUCCESS" in promtool("check", "config", "prometheus.yml")


def test_alerts_fire_when_they_should_and_only_then():
    assert "SUCCESS" in promtool("test", "rules", "alerts_test.yml")
