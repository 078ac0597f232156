"""What the rendered objects say, and what they say of each other."""

from __future__ import annotations

import re
import tomllib

import pytest

from tests.deploy.chart import CHART, WAYS, HelmRefused, containers, of_kind, pods, properties, render, the

WITH_DEPLOYMENT = [way for way in WAYS if not way.startswith("kserve")]
MIB = 2**20


@pytest.mark.parametrize("way", WAYS)
def test_every_container_is_restricted(way):
    rendered = pods(render(*WAYS[way]))
    assert rendered
    for name, pod in rendered:
        for container in containers(pod):
            context = container["securityContext"]
            assert context["allowPrivilegeEscalation"] is False, name
            assert context["capabilities"] == {"drop": ["ALL"]}
            assert context["readOnlyRootFilesystem"] is True
            assert context["runAsNonRoot"] is True
            assert context["runAsUser"] >= 10_000
            assert context["seccompProfile"] == {"type": "RuntimeDefault"}
            assert container["resources"]["limits"]["memory"]
            assert container["resources"]["requests"]["cpu"]
        assert pod["automountServiceAccountToken"] is False
        assert not {"hostNetwork", "hostPID", "hostIPC", "shareProcessNamespace"} & set(pod)
        assert all(
            set(volume) & {"emptyDir", "configMap", "secret", "persistentVolumeClaim"} for volume in pod["volumes"]
        )


@pytest.mark.parametrize("way", WAYS)
def test_what_is_mounted_is_there_and_one_place_alone_is_written(way):
    for _, pod in pods(render(*WAYS[way])):
        volumes = {volume["name"]: volume for volume in pod["volumes"]}
        for container in containers(pod):
            for mount in container["volumeMounts"]:
                assert mount.get("readOnly") or "emptyDir" in volumes[mount["name"]]


@pytest.mark.parametrize("way", WITH_DEPLOYMENT)
def test_selectors_find_the_pods_that_are_meant_and_no_others(way):
    objects = render(*WAYS[way])
    templates = {
        deployment["metadata"]["name"]: deployment["spec"]["template"]["metadata"]["labels"]
        for deployment in of_kind(objects, "Deployment")
    }
    stable = templates["main-deepdetect"]
    for deployment in of_kind(objects, "Deployment"):
        name = deployment["metadata"]["name"]
        selector = deployment["spec"]["selector"]["matchLabels"]
        assert found(selector, templates) == {name}
        for constraint in deployment["spec"]["template"]["spec"]["topologySpreadConstraints"]:
            assert constraint["labelSelector"]["matchLabels"] == selector
    selector = the(objects, "Deployment", "main-deepdetect")["spec"]["selector"]["matchLabels"]
    assert the(objects, "PodDisruptionBudget")["spec"]["selector"]["matchLabels"] == selector
    assert set(the(objects, "NetworkPolicy")["spec"]["podSelector"]["matchLabels"].items()) <= set(stable.items())
    assert found(the(objects, "NetworkPolicy")["spec"]["podSelector"]["matchLabels"], templates) == set(templates)
    for service in of_kind(objects, "Service"):
        name = service["metadata"]["name"]
        wanted = set(templates) if name.endswith("-metrics") else {name}
        assert found(service["spec"]["selector"], templates) == wanted
    tester = the(objects, "Pod")["metadata"]["labels"]
    for selecting in (selector, the(objects, "NetworkPolicy")["spec"]["podSelector"]["matchLabels"]):
        assert not found(selecting, {"test": tester})


def test_selectors_hold_nothing_that_changes_with_a_version():
    old, new = (
        the(render("replicas=3", f"image.tag={tag}"), "Deployment")["spec"]["selector"] for tag in ("1.0.0", "2.0.0")
    )
    assert old == new
    assert not [label for label in old["matchLabels"] if "version" in label or "chart" in label]


@pytest.mark.parametrize("way", WITH_DEPLOYMENT)
def test_services_lead_to_the_proxy_and_the_metrics_alone(way):
    objects = render(*WAYS[way])
    ports = {
        port["name"]: port["containerPort"]
        for container in containers(pods(objects)[0][1])
        for port in container.get("ports", [])
    }
    private = {int(value.rpartition(":")[2]) for key, value in properties(objects).items() if key in PRIVATE}
    assert len(private) == 4
    for service in of_kind(objects, "Service"):
        named = {port["name"]: port["targetPort"] for port in service["spec"]["ports"]}
        wanted = {"metrics"} if service["metadata"]["name"].endswith("-metrics") else {"http", "grpc"}
        assert set(named.values()) == wanted
        assert not {ports[target] for target in named.values()} & private
    opened = [port["port"] for rule in the(objects, "NetworkPolicy")["spec"]["ingress"] for port in rule["ports"]]
    assert sorted(opened) == sorted([ports["http"], ports["grpc"], ports["metrics"]])


PRIVATE = ("inference_address", "management_address", "grpc_inference_port", "grpc_management_port")


@pytest.mark.parametrize("way", WAYS)
def test_torchserve_listens_on_loopback_but_for_its_metrics(way):
    settings = properties(render(*WAYS[way]))
    for key in ("inference_address", "management_address"):
        assert settings[key].startswith("http://127.0.0.1:")
    assert settings["grpc_inference_address"] == settings["grpc_management_address"] == "127.0.0.1"
    assert settings["disable_token_authorization"] == "false"


@pytest.mark.parametrize("way", [*WITH_DEPLOYMENT, "kserve-standard"])
def test_the_grace_period_is_longer_than_sleep_and_drain(way):
    for settings in ((), ("termination.sleepSeconds=25", "termination.drainSeconds=300")):
        for name, pod in pods(render(*WAYS[way], *settings)):
            stops = [container["lifecycle"]["preStop"] for container in containers(pod) if "lifecycle" in container]
            if name.endswith("-test"):
                continue
            (stop,) = stops
            (text,) = (part for part in stop["exec"]["command"] if "sleep" in part)
            sleep, drain = (int(re.search(rf"{word} (\d+)", text)[1]) for word in ("sleep", "drain-timeout"))
            assert pod["terminationGracePeriodSeconds"] >= sleep + drain + 15


@pytest.mark.parametrize("way", WITH_DEPLOYMENT)
def test_probes_tell_live_from_ready_and_nginx_waits_for_nobody(way):
    for _, pod in pods(render(*WAYS[way]))[:1]:
        (proxy,), (server,) = pod["initContainers"], pod["containers"]
        assert proxy["restartPolicy"] == "Always", "a sidecar, which ends after the server"
        assert "tcpSocket" in proxy["startupProbe"], "the server starts once nginx is up, not the other way round"
        assert server["livenessProbe"]["httpGet"]["path"] == "/live"
        assert server["readinessProbe"]["httpGet"]["path"] == proxy["readinessProbe"]["httpGet"]["path"] == "/ready"
        assert server["startupProbe"]["periodSeconds"] * server["startupProbe"]["failureThreshold"] >= 180


@pytest.mark.parametrize("way", WAYS)
def test_two_releases_share_no_name(way):
    one, two = (
        {(each["kind"], each["metadata"]["name"]) for each in render(*WAYS[way], release=release)}
        for release in ("one", "two")
    )
    assert one
    assert not one & two


def test_the_chart_is_of_the_version_of_the_project():
    project = tomllib.loads((CHART.parents[2] / "pyproject.toml").read_text())["project"]
    assert containers(pods(render())[0][1])[-1]["image"] == f"deepdetect:{project['version']}"


def test_long_names_still_fit():
    release = "r" * 53
    for each in render(*WAYS["canary"], *WAYS["monitoring"], release=release):
        assert len(each["metadata"]["name"]) <= 63
        assert all(len(str(value)) <= 63 for value in each["metadata"]["labels"].values())


@pytest.mark.parametrize("way", ["keda", "hpa"])
def test_what_scales_the_pods_is_not_contradicted(way):
    objects = render(*WAYS[way])
    assert "replicas" not in the(objects, "Deployment")["spec"]
    scaler = the(objects, "ScaledObject" if way == "keda" else "HorizontalPodAutoscaler")["spec"]
    assert scaler["scaleTargetRef"]["name"] == the(objects, "Deployment")["metadata"]["name"]
    if way == "keda":
        (trigger,) = scaler["triggers"]
        assert trigger["metadata"]["ignoreNullValues"] == "false"
        assert trigger["metricType"] == "AverageValue", "fallback knows no other"
        assert scaler["fallback"]["replicas"] >= scaler["minReplicaCount"]
        scaler = scaler["advanced"]["horizontalPodAutoscalerConfig"]
    assert scaler["behavior"]["scaleDown"]["stabilizationWindowSeconds"] >= 300
    assert the(render(), "Deployment")["spec"]["replicas"] == 2


def test_a_canary_gets_its_share_over_http_and_grpc():
    objects = render(*WAYS["canary"], "canary.weight=20")
    for kind in ("HTTPRoute", "GRPCRoute"):
        ((backends,),) = ([rule["backendRefs"] for rule in route["spec"]["rules"]] for route in of_kind(objects, kind))
        assert {each["name"]: each["weight"] for each in backends} == {
            "main-deepdetect": 80,
            "main-deepdetect-canary": 20,
        }
        services = {each["metadata"]["name"]: each for each in of_kind(objects, "Service")}
        for backend in backends:
            assert backend["port"] in {port["port"] for port in services[backend["name"]]["spec"]["ports"]}
    images = {name: containers(pod)[-1]["image"] for name, pod in pods(objects)}
    assert images["main-deepdetect-canary"] == "deepdetect:2.0.0" != images["main-deepdetect"]


@pytest.mark.parametrize(
    ("settings", "size"), [((), 17), (("models={video,audio,ensemble}",), 5), (("resources.limits.memory=64Gi",), 100)]
)
def test_full_queues_fit_into_the_heap(settings, size):
    objects = render(*settings)
    config = properties(objects)
    assert int(config["job_queue_size"]) == size
    memory = pods(objects)[0][1]["containers"][0]["resources"]["limits"]["memory"]
    heap = (
        int(memory.removesuffix("Gi"))
        * 1024
        * MIB
        * int(re.search(r"MaxRAMPercentage=(\d+)", config["vmargs"])[1])
        / 100
    )
    n_models = len(config["load_models"].split(","))
    assert n_models * size * int(config["max_request_size"]) <= 0.8 * heap
    (proxy,) = pods(objects)[0][1]["initContainers"]
    assert f"--max-body-bytes={config['max_request_size']}" in proxy["args"]


def test_a_card_has_its_workers():
    (_, pod), *_ = pods(render(*WAYS["gpu"]))
    assert pod["containers"][0]["resources"]["limits"]["nvidia.com/gpu"] == 2
    assert "--workers=ensemble=6" in pod["initContainers"][0]["args"]
    assert pod["containers"][0]["image"].endswith("-cuda")


def test_a_changed_configuration_starts_the_pods_anew():
    sums = {
        the(render(*settings), "Deployment")["spec"]["template"]["metadata"]["annotations"]["checksum/config"]
        for settings in ((), ("config.default_response_timeout=200",), ("maxBodyMiB=32",))
    }
    assert len(sums) == 3


def test_the_shared_cache_is_named_by_a_secret_and_let_through():
    objects = render(*WAYS["redis"])
    environment = {entry["name"]: entry for entry in pods(objects)[0][1]["containers"][0]["env"]}
    assert environment["DEEPDETECT_CACHE_STORE"]["value"] == "redis"
    assert environment["DEEPDETECT_REDIS_URL"]["valueFrom"] == {"secretKeyRef": {"name": "cache", "key": "url"}}
    assert 6379 in [port["port"] for rule in the(objects, "NetworkPolicy")["spec"]["egress"] for port in rule["ports"]]
    assert properties(objects)["model_store"] == "/models"


@pytest.mark.parametrize(
    ("setting", "message"),
    [
        ("replcas=3", "additional properties 'replcas' not allowed"),
        ("proxy.ratePerMinutes=5", "ratePerMinutes"),
        ("gpu.enable=true", "enable"),
        ("models={vidoe}", "models"),
        ("workers.vidoe=2", "vidoe"),
        ("uid=0", "uid"),
        ("resources.limits.memory=4000000", "memory"),
        ("jobQueueSize=1000", "jobQueueSize is 1000; a heap of 1433 MiB holds 17 uploads of 64 MiB"),
        ("maxBodyMiB=2000", "do not fit into a heap"),
        ("clients.existingSecret=", "existingSecret"),
        ("canary.enabled=true", "canary.enabled needs gateway.enabled"),
        ("autoscaling.engine=vpa", "engine"),
    ],
)
def test_what_cannot_be_is_refused_by_name(setting, message):
    with pytest.raises(HelmRefused, match=re.escape(message)):
        render(setting)


def test_extra_objects_are_filled_in():
    objects = render('extraObjects[0]=apiVersion: v1\nkind: ConfigMap\nmetadata: {name: "{{ .Release.Name }}-extra"}')
    assert "main-extra" in {each["metadata"]["name"] for each in of_kind(objects, "ConfigMap")}


def found(selector: dict[str, str], labels: dict[str, dict[str, str]]) -> set[str]:
    """The names of those whose labels the selector matches."""
    return {name for name, own in labels.items() if selector.items() <= own.items()}
