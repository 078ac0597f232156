"""The chart as helm renders it, in each of the ways that the tests look at."""

from __future__ import annotations

import os
import subprocess
from functools import cache
from typing import Any

import yaml

from operations.settings import PROJECT_DIR

CHART = PROJECT_DIR / "deploy" / "helm" / "deepdetect"
TOOLS = PROJECT_DIR / ".venv-deploy" / "bin"
NAMESPACE = "detection"
WAYS: dict[str, tuple[str, ...]] = {
    "defaults": (),
    "keda": ("autoscaling.enabled=true",),
    "hpa": ("autoscaling.enabled=true", "autoscaling.engine=hpa"),
    "kserve": ("kserve.enabled=true", "kserve.canaryTrafficPercent=10"),
    "kserve-standard": ("kserve.enabled=true", "kserve.mode=Standard"),
    "gpu": ("gpu.enabled=true", "gpu.cards=2", "gpu.workersPerCard=3"),
    "redis": ("redis.existingSecret=cache", "store.existingClaim=archives"),
    "canary": ("canary.enabled=true", "canary.tag=2.0.0", "gateway.enabled=true", "gateway.parentRefs[0].name=public"),
    "monitoring": ("monitoring.serviceMonitor=true", "monitoring.prometheusRule=true", "monitoring.dashboard=true"),
}
Object = dict[str, Any]


class HelmRefused(Exception):
    """What helm said instead of rendering."""


def helm(*arguments: str) -> str:
    """What helm writes.

    Raises:
        HelmRefused: it ended with another status than 0.
    """
    environment = os.environ | {
        "HELM_CACHE_HOME": "/nowhere",
        "HELM_CONFIG_HOME": "/nowhere",
        "HELM_DATA_HOME": "/nowhere",
    }
    done = subprocess.run([TOOLS / "helm", *arguments], capture_output=True, text=True, env=environment)
    if done.returncode:
        raise HelmRefused(done.stderr)
    return done.stdout


@cache
def manifests(*settings: str, release: str = "main") -> str:
    """The rendered chart as YAML."""
    options = [part for setting in settings for part in ("--set", setting)]
    return helm("template", release, str(CHART), "--namespace", NAMESPACE, *options)


def render(*settings: str, release: str = "main") -> list[Object]:
    """The objects of the rendered chart."""
    return [each for each in yaml.safe_load_all(manifests(*settings, release=release)) if each]


def of_kind(objects: list[Object], kind: str) -> list[Object]:
    return [each for each in objects if each["kind"] == kind]


def the(objects: list[Object], kind: str, name: str = "") -> Object:
    """The one object of a kind, and of a name where that is given."""
    (found,) = (each for each in of_kind(objects, kind) if name in ("", each["metadata"]["name"]))
    return found


def pods(objects: list[Object]) -> list[tuple[str, Object]]:
    """Name and pod spec of each object that makes pods; that of KServe is put together as KServe does it."""
    found = [(each["metadata"]["name"], each["spec"]["template"]["spec"]) for each in of_kind(objects, "Deployment")]
    found += [(each["metadata"]["name"], each["spec"]) for each in of_kind(objects, "Pod")]
    for runtime in of_kind(objects, "ServingRuntime"):
        predictor = the(objects, "InferenceService")["spec"]["predictor"]
        own = {"minReplicas", "maxReplicas", "canaryTrafficPercent", "containerConcurrency", "timeout", "model"}
        spec = {name: runtime["spec"][name] for name in ("containers", "volumes")}
        found.append((runtime["metadata"]["name"], spec | {k: v for k, v in predictor.items() if k not in own}))
    return found


def containers(pod: Object) -> list[Object]:
    return [*pod.get("initContainers", []), *pod["containers"]]


def properties(objects: list[Object]) -> dict[str, str]:
    """config.properties as TorchServe reads it."""
    (config,) = (each for each in of_kind(objects, "ConfigMap") if "config.properties" in each["data"])
    lines = config["data"]["config.properties"].splitlines()
    pairs = (line.partition("=") for line in lines if line and not line.startswith("#"))
    return {key: value for key, _, value in pairs}
