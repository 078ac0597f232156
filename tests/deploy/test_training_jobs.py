"""The manifest for training on many machines: what it mounts, and that the script takes the options it gives."""

from __future__ import annotations

import subprocess
from pathlib import Path

import pytest
import yaml

from operations.settings import PROJECT_DIR
from tests.deploy.chart import TOOLS
from training.run.config import DataConfig, RunConfig
from training.train_video import options as video_options

MANIFEST = PROJECT_DIR / "deploy" / "training" / "trainjob.yaml"
RUNTIME, JOB = yaml.safe_load_all(MANIFEST.read_text())
(REPLICATED,) = RUNTIME["spec"]["template"]["spec"]["replicatedJobs"]
POD = REPLICATED["template"]["spec"]["template"]["spec"]
(CONTAINER,) = POD["containers"]


def test_the_job_is_of_the_runtime():
    reference = JOB["spec"]["runtimeRef"]
    assert (reference["kind"], reference["name"]) == (RUNTIME["kind"], RUNTIME["metadata"]["name"])
    assert JOB["metadata"]["namespace"] == RUNTIME["metadata"]["namespace"]
    assert JOB["spec"]["trainer"]["numProcPerNode"] == CONTAINER["resources"]["limits"]["nvidia.com/gpu"]


def test_the_script_takes_its_options_and_keeps_its_part_on_the_machines_own_disk():
    module, *options = JOB["spec"]["trainer"]["args"][1:]
    assert module == "training.train_video"
    settings = video_options().settings(options)
    data, run = settings.make(DataConfig), settings.make(RunConfig)
    assert data.sharded
    assert run.resume
    assert not run.export
    volumes = {volume["name"]: volume for volume in POD["volumes"]}
    places = {Path(mount["mountPath"]): volumes[mount["name"]] for mount in CONTAINER["volumeMounts"]}
    assert "emptyDir" in places[data.cache.parent]
    assert "persistentVolumeClaim" in places[run.save_path.parents[1]]
    assert places[data.dataset]["persistentVolumeClaim"]["readOnly"]


def test_its_pods_are_restricted():
    context = CONTAINER["securityContext"]
    assert context["readOnlyRootFilesystem"]
    assert not context["allowPrivilegeEscalation"]
    assert context["capabilities"] == {"drop": ["ALL"]}
    assert POD["securityContext"]["runAsNonRoot"]
    assert POD["automountServiceAccountToken"] is False


def test_kubernetes_knows_every_field_of_its_pods(tmp_path):
    if not (TOOLS / "kubernetes-validate").exists():
        pytest.skip("kubernetes-validate is not there: run `make deploy-tools`")
    path = tmp_path / "pod.yaml"
    path.write_text(yaml.safe_dump({"apiVersion": "v1", "kind": "Pod", "metadata": {"name": "node"}, "spec": POD}))
    done = subprocess.run([TOOLS / "kubernetes-validate", "--strict", path], capture_output=True, text=True)
    assert done.returncode == 0, done.stdout + done.stderr
