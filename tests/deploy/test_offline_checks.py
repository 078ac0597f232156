"""What helm, Kubernetes' own schemas, checkov and Prometheus say of the chart, without a cluster."""

from __future__ import annotations

import json
import shutil
import subprocess

import pytest
import yaml

from tests.deploy.chart import CHART, NAMESPACE, TOOLS, WAYS, helm, manifests, of_kind, pods, render, the

KUBERNETES_VERSIONS = ("1.29", "1.33", "1.37")  # the first that has native sidecars, one between, the newest known
CHECKOV = TOOLS.parent / "checkov" / "bin" / "checkov"
PROJECT_DIR = CHART.parents[2]


@pytest.mark.parametrize("way", WAYS)
def test_helm_lint_finds_nothing(way):
    options = [part for setting in WAYS[way] for part in ("--set", setting)]
    assert "0 chart(s) failed" in helm("lint", "--strict", str(CHART), "--namespace", NAMESPACE, *options)


def validate(version: str, text: str, tmp_path) -> subprocess.CompletedProcess:
    path = tmp_path / "manifests.yaml"
    path.write_text(text)
    command = [TOOLS / "kubernetes-validate", "--strict", "--kubernetes-version", version, path]
    return subprocess.run(command, capture_output=True, text=True)


@pytest.mark.parametrize("version", KUBERNETES_VERSIONS)
@pytest.mark.parametrize("way", WAYS)
def test_kubernetes_knows_every_field(way, version, tmp_path):
    objects = render(*WAYS[way])
    if of_kind(objects, "ServingRuntime"):  # no schema of Kubernetes: so the pod that KServe makes of it
        (pod,) = (spec for _, spec in pods(objects))
        objects.append({"apiVersion": "v1", "kind": "Pod", "metadata": {"name": "made-by-kserve"}, "spec": pod})
    done = validate(version, yaml.safe_dump_all(objects), tmp_path)
    assert done.returncode == 0, done.stdout + done.stderr


def test_a_misspelt_field_would_be_found(tmp_path):
    text = manifests().replace("terminationGracePeriodSeconds", "terminationGracePeriod")
    done = validate(KUBERNETES_VERSIONS[-1], text, tmp_path)
    assert done.returncode != 0
    assert "terminationGracePeriod" in done.stdout + done.stderr


@pytest.mark.parametrize("way", ["defaults", "canary", "redis"])
def test_checkov_finds_nothing_that_is_not_explained(way, tmp_path):
    if not CHECKOV.exists():
        pytest.skip("checkov is not there: run `make deploy-check`")
    path = tmp_path / "manifests.yaml"
    path.write_text(manifests(*WAYS[way]))
    command = [CHECKOV, "--config-file", PROJECT_DIR / "deploy" / "checkov.yaml", "--file", path, "--output", "json"]
    done = subprocess.run(command, capture_output=True, text=True, timeout=240)
    report = json.loads(done.stdout)
    assert report["summary"]["passed"] > 100
    assert [(check["check_id"], check["resource"]) for check in report["results"]["failed_checks"]] == []


def test_the_manifest_for_those_without_helm_is_the_rendered_one():
    rendered = helm(
        "template",
        "deepdetect",
        str(CHART),
        "--namespace",
        "detection",
        "-f",
        str(PROJECT_DIR / "deploy/kserve/values.yaml"),
    )
    written = (PROJECT_DIR / "deploy" / "kserve" / "deepdetect.yaml").read_text()
    assert list(yaml.safe_load_all(written)) == list(yaml.safe_load_all(rendered)), "run `make kserve-manifests`"


def test_the_rules_and_the_dashboard_are_those_of_the_project():
    objects = render(*WAYS["monitoring"])
    monitoring = PROJECT_DIR / "config" / "monitoring"
    groups = [yaml.safe_load((monitoring / name).read_text())["groups"] for name in ("recording.yml", "alerts.yml")]
    assert the(objects, "PrometheusRule")["spec"]["groups"] == groups[0] + groups[1]
    dashboard = the(objects, "ConfigMap", "main-deepdetect-dashboard")["data"]["deepdetect.json"]
    assert json.loads(dashboard) == json.loads((monitoring / "dashboard.json").read_text())
    (endpoint,) = the(objects, "ServiceMonitor")["spec"]["endpoints"]
    (metrics,) = the(objects, "Service", "main-deepdetect-metrics")["spec"]["ports"]
    assert endpoint["port"] == metrics["name"]
    wanted = the(objects, "ServiceMonitor")["spec"]["selector"]["matchLabels"].items()
    labels = {each["metadata"]["name"]: each["metadata"]["labels"] for each in of_kind(objects, "Service")}
    assert [name for name, own in labels.items() if wanted <= own.items()] == ["main-deepdetect-metrics"]


def test_the_scaling_query_counts_who_waits(tmp_path):
    if not shutil.which("promtool"):
        pytest.skip("promtool is not there: install Debian's package `prometheus`")
    (trigger,) = the(render(*WAYS["keda"]), "ScaledObject")["spec"]["triggers"]
    query = trigger["metadata"]["query"]
    series = 'ts_queue_latency_microseconds{{namespace="{}", service="{}", pod="{}", model_name="{}"}}'
    ours = (NAMESPACE, "main-deepdetect-metrics")
    inputs = [  # 15e6 microseconds in each 15 s are one that waits at a time
        {"series": series.format(*ours, "a", "ensemble"), "values": "0+45e6x40"},
        {"series": series.format(*ours, "b", "ensemble"), "values": "0+30e6x20 0+30e6x19"},  # started anew meanwhile
        {"series": series.format(*ours, "b", "audio"), "values": "0+15e6x40"},
        {"series": series.format(NAMESPACE, "other-deepdetect-metrics", "c", "ensemble"), "values": "0+900e6x40"},
        {"series": series.format("elsewhere", ours[1], "d", "ensemble"), "values": "0+900e6x40"},
    ]
    idle = [{"series": series.format(*ours, "a", "ensemble"), "values": "7e6+0x40"}]
    tests = [
        {
            "interval": "15s",
            "input_series": inputs,
            "promql_expr_test": [expect(query, "4m", 6), expect(query, "9m", 6)],
        },
        {"interval": "15s", "input_series": idle, "promql_expr_test": [expect(query, "9m", 0)]},
        # No pod is heard of: no element, which KEDA takes for an error and not for 0.
        {"interval": "15s", "input_series": inputs[3:], "promql_expr_test": [expect(query, "9m", None)]},
    ]
    path = tmp_path / "scaling_test.yml"
    path.write_text(yaml.safe_dump({"evaluation_interval": "15s", "tests": tests}))
    done = subprocess.run(["promtool", "test", "rules", path], capture_output=True, text=True)
    assert done.returncode == 0, done.stdout + done.stderr


def expect(query: str, at: str, value: float | None) -> dict:
    samples = [] if value is None else [{"labels": "{}", "value": value}]
    return {"expr": query, "eval_time": at, "exp_samples": samples}
