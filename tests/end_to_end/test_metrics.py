"""A known mix of requests moves the metrics by known amounts, and each request is found in the log by its id."""

from __future__ import annotations

import base64
import itertools
import json
import re
import shutil
import subprocess
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest
import requests
import yaml

from operations.server import PROJECT_DIR, TorchServe
from operations.settings import free_ports

OWN_CLIP = {"duration_s": 1.2, "width": 400, "height": 304}  # one that no other test sends, so that it is not cached
STAGES = ("decode", "faces", "features", "forward", "fuse")
Series = dict[tuple[str, frozenset[str]], float]


def scrape(server: TorchServe) -> str:
    return requests.get(f"{server.properties['metrics_address']}/metrics", timeout=30).text


def series(text: str) -> Series:
    """(name, labels such as `code="no_face"`) -> value."""
    found = {}
    for name, labels, value in re.findall(r"^(\w+)(?:\{(.*),\})? (\S+)$", text, flags=re.MULTILINE):
        kept = [label for label in labels.split(",") if not label.lower().startswith("hostname")]
        found[name, frozenset(kept)] = float(value)
    return found


class Watch:
    """What has moved since it was made."""

    def __init__(self, server: TorchServe, model: str) -> None:
        self.server = server
        self.model = model
        self.before = series(scrape(server))

    def moved(self, until: Callable[[Callable[..., float]], bool]) -> Callable[..., float]:
        """A look-up `by(name, **labels)`, summed over labels not named, once `until(by)` holds and all is still."""
        deadline = time.monotonic() + 20
        after: Series = {}
        while True:
            last, after = after, series(scrape(self.server))
            still = not any(after[key] != last.get(key) for key in after if key[0].startswith("deepdetect_"))
            moves = {key: value - self.before.get(key, 0.0) for key, value in after.items()}

            def by(name: str, moves: Series = moves, **labels: str) -> float:
                wanted = {f'{label}="{value}"' for label, value in ({"model_name": self.model} | labels).items()}
                return sum(move for (metric, has), move in moves.items() if metric == name and wanted <= has)

            if (still and until(by)) or time.monotonic() > deadline:
                return by
            time.sleep(0.2)


def test_a_known_mix_moves_each_series_by_what_it_should(server, http, over_grpc, clip, sound):
    faces, bare, text = clip(**OWN_CLIP), clip(**OWN_CLIP, face=False), b"this is no clip"
    watch = Watch(server, "ensemble")
    answers = [
        http.predict("ensemble", faces, options={"frames": 6}),
        http.predict("ensemble", bare, options={"frames": 4}),
        http.predict("ensemble", faces, options={"frames": 6}, file_name="the same again.mp4"),
        over_grpc.predict("ensemble", faces, options={"frames": 6}),
        http.predict("ensemble", text),
        http.predict("ensemble", bare, options={"require_face": True}),
        http.predict("ensemble", bare, options={"colour": "red"}),
        over_grpc.predict("ensemble", text),
    ]
    assert [answer.status for answer in answers] == [200, 200, 200, 200, 415, 200, 400, 415]
    judged = [answer.body for answer in answers if answer.status == 200]
    fresh = [body for body in judged if body["cache"] != "hit"]
    assert [body["cache"] for body in judged] == ["miss", "miss", "hit", "hit", "miss"]
    by = watch.moved(lambda by: by("deepdetect_requests_total") >= len(answers))

    assert by("deepdetect_requests_total", transport="http", status="200") == 4
    assert by("deepdetect_requests_total", transport="grpc", status="200") == 1
    assert by("deepdetect_requests_total", transport="http", status="415") == 1
    assert by("deepdetect_requests_total", transport="grpc", status="415") == 1
    assert by("deepdetect_requests_total", transport="http", status="400") == 1
    assert by("deepdetect_requests_total") == len(answers)
    assert by("ts_inference_requests_total") == len(answers)
    for prediction in ("Real", "Fake"):
        expected = sum(body["prediction"] == prediction for body in judged)
        assert by("deepdetect_verdicts_total", prediction=prediction) == expected
    for tenth in range(10):
        decile = f"{tenth / 10:.1f}-{(tenth + 1) / 10:.1f}"
        expected = sum(int(body["probabilities"]["fake"] * 10) == tenth for body in judged)
        assert by("deepdetect_p_fake_total", decile=decile) == expected
    refusals = {"unknown_container": 2, "bad_option": 1}
    assert {code: by("deepdetect_refusals_total", code=code) for code in refusals} == refusals
    assert by("deepdetect_refusals_total") == 3
    assert by("deepdetect_cache_lookups_total", outcome="hit") == 2
    assert by("deepdetect_cache_lookups_total", outcome="miss") == 3

    videos = [body["modalities"].get("video", {}) for body in fresh]
    crops = [crop for video in videos for crop in video.get("crops", ["none"] * video.get("frames", 0))]
    assert "none" in crops
    assert set(crops) - {"none"}
    for crop in ("detected", "interpolated", "none"):
        assert by("deepdetect_frames_total", crop=crop) == crops.count(crop)
    # The request with the unknown option was refused before its file was looked at.
    assert by("deepdetect_received_bytes_total") == 3 * len(faces) + 2 * len(bare) + 2 * len(text)

    for stage in STAGES:
        spent_s = [body["timings_s"][stage] for body in fresh if stage in body["timings_s"]]
        assert by("deepdetect_stage_seconds_count", stage=stage) == len(spent_s) > 0
        assert by("deepdetect_stage_seconds_sum", stage=stage) == pytest.approx(sum(spent_s), abs=1e-4)
        assert by("deepdetect_stage_seconds_bucket", stage=stage, le="+Inf") == len(spent_s)
    assert by("deepdetect_handler_seconds_count") == len(answers)
    total_s = by("deepdetect_handler_seconds_sum")
    assert sum(body["processing_time"] for body in judged) - 1e-3 <= total_s
    assert total_s <= by("ts_inference_latency_microseconds") / 1e6 + 1.0  # which leaves out gRPC
    assert by("deepdetect_batch_size_sum") == len(answers)
    assert by("deepdetect_batch_size_count") == len(answers)  # one at a time, so each was a batch
    assert 0 < by("ts_queue_latency_microseconds") / 1e6 < 60


def test_requests_that_arrive_together_share_a_batch(server, http, sound):
    watch = Watch(server, "audio")
    with ThreadPoolExecutor(8) as pool:
        replies = list(pool.map(lambda _: http.predict("audio", sound), range(24)))
    assert {reply.status for reply in replies} == {200}
    by = watch.moved(lambda by: by("deepdetect_requests_total") >= 24)
    assert by("deepdetect_batch_size_sum") == by("deepdetect_handler_seconds_count") == 24
    assert by("deepdetect_batch_size_count") < 24


def test_files_without_a_face_are_refused_under_their_own_code(server, http, clip):
    watch = Watch(server, "video")
    assert http.predict("video", clip(**OWN_CLIP, face=False), options={"require_face": True}).status == 422
    by = watch.moved(lambda by: by("deepdetect_refusals_total") >= 1)
    assert by("deepdetect_refusals_total", code="no_face") == by("deepdetect_refusals_total") == 1
    assert by("deepdetect_frames_total") == 0


def test_workers_give_signs_of_life(server):
    found = series(scrape(server))
    for name in ("heartbeat_timestamp_seconds", "memory_bytes"):
        beats = {
            next(label for label in labels if label.startswith("model_name")): value
            for (metric, labels), value in found.items()
            if metric == f"deepdetect_worker_{name}"
        }
        assert len(beats) == 3
        assert all(time.time() - beat < 60 for beat in beats.values()) or name == "memory_bytes"


def test_the_server_exports_what_is_declared_and_nothing_else(server):
    declared = yaml.safe_load((PROJECT_DIR / "config" / "metrics.yaml").read_text())
    expected = {
        (metric["name"], kind)
        for section in ("ts_metrics", "model_metrics")
        for kind, metrics in declared[section].items()
        for metric in metrics
    }
    assert set(re.findall(r"^# TYPE (\w+) (\w+)$", scrape(server), flags=re.MULTILINE)) == expected


def test_promtool_reads_the_scrape_and_objects_only_to_torchserves_own_names(server):
    if not shutil.which("promtool"):
        pytest.skip("promtool is not there: install Debian's package `prometheus`")
    text = scrape(server)
    done = subprocess.run(["promtool", "check", "metrics"], input=text, capture_output=True, text=True)
    assert done.returncode in (0, 3), done.stderr  # 3: it could read all of it, and has remarks
    remarks = done.stderr.splitlines()
    assert len(remarks) > 3
    assert [remark for remark in remarks if remark.startswith("deepdetect_")] == []


@pytest.fixture(scope="module")
def prometheus(server, tmp_path_factory) -> Iterator[str]:
    """A real Prometheus with our rules that scrapes the server each second; its address."""
    if not shutil.which("prometheus"):
        pytest.skip("prometheus is not there: install Debian's package `prometheus`")
    directory = tmp_path_factory.mktemp("prometheus")
    example = yaml.safe_load((PROJECT_DIR / "config" / "monitoring" / "prometheus.yml").read_text())
    example["global"] = {"scrape_interval": "1s", "evaluation_interval": "1s"}
    example["scrape_configs"][0]["static_configs"][0]["targets"] = [
        server.properties["metrics_address"].removeprefix("http://")
    ]
    (directory / "prometheus.yml").write_text(yaml.safe_dump(example))
    for name in example["rule_files"]:
        shutil.copy(PROJECT_DIR / "config" / "monitoring" / name, directory)
    address = f"127.0.0.1:{free_ports(1)[0]}"
    command = ["prometheus", "--config.file=prometheus.yml", f"--web.listen-address={address}"]
    with (directory / "log").open("w") as log:
        process = subprocess.Popen(command, cwd=directory, stdout=log, stderr=log)
    try:
        yield f"http://{address}"
    finally:
        process.terminate()
        process.wait(30)


def ask(prometheus: str, expr: str) -> list[dict]:
    """The result of an instant query."""
    response = requests.get(f"{prometheus}/api/v1/query", params={"query": expr}, timeout=30)
    assert response.status_code == 200, f"{expr}: {response.text}"
    return response.json()["data"]["result"]


def test_a_real_prometheus_answers_every_panel_and_evaluates_every_rule(prometheus, server, http, clip):
    # There was no yesterday, and TorchServe shows a count of 5xx from the first one on.
    may_be_silent = {"Share of Fake: {{model_name}} yesterday", "Turned away by the server: {{instance}}"}
    behind_a_proxy = {"X-Request-Start": f"t={time.time():.3f}", **server.keys.headers("inference")}
    deadline = time.monotonic() + 60
    for round_ in itertools.count():
        http.predict("ensemble", clip(**OWN_CLIP), options={"threshold": round_ / 100})
        http.predict("ensemble", clip(**OWN_CLIP))
        requests.put(f"{server.inference}/predictions/ensemble", b"no clip", headers=behind_a_proxy, timeout=60)
        time.sleep(1)
        silent = set(silent_panels(prometheus)) if answers(prometheus) else {"all of them"}
        if silent <= may_be_silent or time.monotonic() > deadline:
            break
    assert silent <= may_be_silent
    groups = requests.get(f"{prometheus}/api/v1/rules", timeout=30).json()["data"]["groups"]
    rules = [rule for group in groups for rule in group["rules"]]
    assert {rule["health"] for rule in rules} == {"ok"}
    assert len(rules) >= 20
    assert [rule["name"] for rule in rules if rule.get("state") == "firing"] == []


def answers(prometheus: str) -> bool:
    """Whether it has started."""
    try:
        return requests.get(f"{prometheus}/-/ready", timeout=30).ok
    except requests.ConnectionError:
        return False


def silent_panels(prometheus: str) -> Iterator[str]:
    """Queries of the dashboard that have no answer; one that is not PromQL fails the test."""
    for panel in json.loads((PROJECT_DIR / "config" / "monitoring" / "dashboard.json").read_text())["panels"]:
        for target in panel.get("targets", ()):
            expr = target["expr"].replace("$__rate_interval", "1m").replace("$__range", "5m")
            if not ask(prometheus, re.sub(r"\$(model|instance)\b", ".*", expr)):
                yield f"{panel['title']}: {target['legendFormat']}"


def logged(server: TorchServe, request_id: str, n_lines: int = 1) -> list[dict]:
    """The lines of a request in the request log."""
    path = Path(server.environment["LOG_LOCATION"], "request_log.jsonl")
    deadline = time.monotonic() + 20
    while True:
        whole, _, _ = path.read_text().rpartition("\n")  # the last line may be on its way
        records = [json.loads(line) for line in whole.splitlines()]  # every line is JSON
        found = [record for record in records if record["request_id"] == request_id]
        if len(found) >= n_lines or time.monotonic() > deadline:
            return found
        time.sleep(0.05)


@pytest.mark.parametrize("door", ["http", "grpc"])
@pytest.mark.parametrize("good", [True, False], ids=["judged", "refused"])
def test_a_request_is_found_in_the_logs_by_the_id_that_its_answer_carried(server, http, over_grpc, sound, door, good):
    client = {"http": http, "grpc": over_grpc}[door]
    reply = client.predict("audio", sound if good else b"no clip", file_name="secret\n[METRICS]name.wav")
    assert re.fullmatch(r"[0-9a-f-]{36}", reply.request_id)
    (line,) = logged(server, reply.request_id)
    assert (line["event"], line["model"], line["version"], line["transport"]) == ("request", "audio", "1.0", door)
    assert line["status"] == reply.status == (200 if good else 415)
    assert line["bytes"] == (len(sound) if good else 7)
    if good:
        assert reply.body["sha256"].startswith(line["sha256"])
        assert line["p_fake"] == reply.body["probabilities"]["fake"]
        assert line["prediction"] == reply.body["prediction"]
    else:
        assert line["code"] == "unknown_container"
    assert "secret" not in json.dumps(line)
    worker_log = Path(server.environment["LOG_LOCATION"], "model_log.log")
    deadline = time.monotonic() + 20
    while reply.request_id not in worker_log.read_text(errors="replace"):
        assert time.monotonic() < deadline, "the line is in the request log alone"
        time.sleep(0.05)


def test_a_request_of_two_files_from_a_proxy_has_two_lines_and_a_time_in_the_queue(server, sound):
    body = {"instances": [{"b64": base64.b64encode(sound).decode()}, {"b64": "?"}]}
    url = f"{server.inference}/v1/models/audio:predict"
    headers = {
        "X-Request-Id": "from-the-proxy-7",
        "X-Request-Start": f"t={time.time() - 2:.3f}",
        **server.keys.headers("inference"),
    }
    watch = Watch(server, "audio")
    response = requests.post(url, json=body, headers=headers, timeout=60)
    first, second = logged(server, response.headers["x-request-id"], 2)
    assert (first["file"], first["files"], first["file_type"]) == (0, 2, "audio")
    assert (second["file"], second["files"], second["code"]) == (1, 2, "bad_request")
    assert {first["caller_request_id"], second["caller_request_id"]} == {"from-the-proxy-7"}
    by = watch.moved(lambda by: by("deepdetect_queue_seconds_count") >= 1)
    assert by("deepdetect_queue_seconds_count") == 1
    assert 2 <= by("deepdetect_queue_seconds_sum") < 30


def test_the_page_explains_every_field_of_the_log(server, http, sound):
    page = (PROJECT_DIR / "docs" / "serving" / "observe.md").read_text(encoding="utf-8")
    section = page.split("| field | meaning |")[1].split("No file name")[0]
    rows = re.findall(r"^\| (`[^|]+`) \|", section, flags=re.MULTILINE)
    documented = {name for row in rows for name in re.findall(r"`(\w+)`", row)}
    replies = [http.predict("audio", data) for data in (sound, b"no clip")]
    seen = {field for reply in replies for line in logged(server, reply.request_id) for field in line}
    assert documented == seen | {"message", "caller_request_id"}
