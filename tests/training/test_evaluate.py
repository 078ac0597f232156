"""The evaluation measures what is served, keeps what it scored, and opens the test split only when asked to."""

from __future__ import annotations

import json
from dataclasses import replace

import numpy as np
import pytest

from model_defs.networks.artifact import Artifact, load_artifact
from tests.training.artifacts import AUDIO_SPEC
from training.data.datasets import DatasetError, load_dataset, select
from training.data.prepared import prepare
from training.evaluate import TEST_NOTE, candidates_of, evaluate, further_clips, main
from training.evaluation.file_scores import ScoreCache
from training.evaluation.report_tables import Resampling
from training.evaluation.scores import score_clips

FEW = Resampling(20, 10)


@pytest.fixture(scope="module")
def data(audio_dataset, video_dataset):
    return {"video": load_dataset(video_dataset), "audio": load_dataset(audio_dataset)}


@pytest.fixture(scope="module")
def report_folder(audio_dataset, video_dataset, audio_artifact, video_artifact, tmp_path_factory):
    """What one run of the command line wrote."""
    folder = tmp_path_factory.mktemp("evaluation")
    arguments = ["--video-data", video_dataset, "--audio-data", audio_dataset, "--artifact", video_artifact]
    arguments += [audio_artifact, "--quick", "--robustness-clips", 2, "--resamples", 20, "--output", folder]
    main([str(argument) for argument in arguments])
    return folder


@pytest.fixture(scope="module")
def report(report_folder):
    return json.loads((report_folder / "report.json").read_text())


def test_figures_are_those_of_the_training_side(report, audio_dataset, audio_artifact, tmp_path):
    """Two ways to the same scores: the request's, and that of prepared arrays."""
    clips = prepare(select(load_dataset(audio_dataset), "val"), AUDIO_SPEC, tmp_path, show_progress=False)
    artifact = load_artifact(audio_artifact, "cpu", "fp32")
    expected = score_clips(artifact.module, clips, AUDIO_SPEC)
    model = report["modalities"]["audio"]["splits"]["val"]["models"]["audio fp32"]
    p_fake = 1 / (1 + np.exp(-(expected.logits[:, 1] - expected.logits[:, 0]) / 2.0))  # the artifact's temperature
    log_loss = -np.log(np.where(expected.labels == 1, p_fake, 1 - p_fake)).mean()
    assert model["measures"]["log_loss"]["value"] == pytest.approx(log_loss, abs=1e-3)
    assert model["measures"]["auc"]["value"] == 1.0  # tones against noise
    assert model["counts"] == {"clips": 4, "fake": 2, "groups": 4}


def test_report_has_its_parts(report, report_folder):
    for modality in ("video", "audio"):
        part = report["modalities"][modality]
        assert all(len(one["sha256"]) == 64 for one in part["artifacts"].values())
        assert all(len(curve) == 3 for curves in part["robustness"]["damage"].values() for curve in curves.values())
        assert len(part["robustness"]["attacks"]) == 3
        assert (
            part["splits"]["val"]["metadata_baseline"]["counts"]
            == part["splits"]["val"]["models"][f"{modality} fp32"]["counts"]
        )
    assert set(report["modalities"]["audio"]["splits"]["val"]["models"]) == {"audio fp32", "audio int8"}
    assert set(report["ensemble"]["fusion"]) == {"configured", "fitted"}
    assert report["data"]["audio"]["clips"] == 4
    page = (report_folder / "report.html").read_text()
    assert page.count("metadata baseline") == 2
    assert page.count("<svg") >= 8
    assert "http" not in page.replace("<!doctype html>", "")  # nothing is fetched
    assert "| val | audio fp32 | 4 | 2 | 4 | 1.000" in (report_folder / "report.md").read_text()


def test_test_split_is_closed_unless_it_is_asked_for(report, data, audio_artifact, tmp_path):
    assert report["splits"] == ["val"]
    assert report["notes"] == []
    cache = ScoreCache(tmp_path / "scores.jsonl")
    as_test = [replace(clip, split="test") for clip in select(data["audio"], "train")]
    found = evaluate(
        candidates_of([audio_artifact]),
        {"audio": [*data["audio"], *as_test]},
        cache,
        splits=("val", "test"),
        n_robustness_clips=0,
        resampling=FEW,
    )
    assert found["notes"] == [TEST_NOTE]
    rows = found["modalities"]["audio"]["thresholds"]["audio fp32"]
    assert [row["false_alarm_rate"] for row in rows] == [0.01, 0.05, 0.1]
    assert set(rows[0]["splits"]) == {"val", "test"}
    assert rows[0]["splits"]["val"]["fpr"] == 0.0
    assert "robustness" not in found["modalities"]["audio"]


def test_what_was_scored_is_not_scored_again(data, audio_artifact, tmp_path, monkeypatch):
    def run():
        cache = ScoreCache(tmp_path / "scores.jsonl")
        found = evaluate(candidates_of([audio_artifact]), data, cache, quick=True, n_robustness_clips=2, resampling=FEW)
        return found["modalities"]

    first = run()
    path = tmp_path / "scores.jsonl"
    path.write_text(path.read_text() + '\n{"key": "cut o')  # as a kill may leave it

    def refuse(*_):
        raise AssertionError("scored again")

    monkeypatch.setattr(Artifact, "forward", refuse)
    assert run() == first


def test_broken_file_is_left_out_of_everything(data, audio_artifact, video_artifact, tmp_path):
    broken = {}
    for modality, clips in data.items():
        path = tmp_path / f"broken_{modality}"
        path.write_bytes(b"no media " + modality.encode())
        broken[modality] = [*clips, replace(select(clips, "val")[0], path=path)]
    candidates = candidates_of([video_artifact, audio_artifact])
    cache = ScoreCache(tmp_path / "scores.jsonl")
    found = evaluate(candidates, broken, cache, quick=True, n_robustness_clips=8, resampling=FEW)
    for modality, n_usable in (("video", 2), ("audio", 4)):
        part = found["modalities"][modality]
        assert sum(part["splits"]["val"]["refused"].values()) == 1
        curves = [*part["robustness"]["damage"].values(), *part["robustness"]["attacks"].values()]
        assert all(point["clips"] <= n_usable for curve in curves for points in curve.values() for point in points)
    assert found["ensemble"]["left_out"]["val"] >= 1


def test_errors_name_what_is_wrong(audio_dataset, video_dataset, audio_artifact, tmp_path, capsys):
    output = ["--output", str(tmp_path)]
    with pytest.raises(SystemExit):
        main(output)
    assert "--video-data" in capsys.readouterr().err
    with pytest.raises(SystemExit, match="no such model among the artifacts"):
        main([*output, "--artifact", str(audio_artifact), "--video-data", str(video_dataset)])
    with pytest.raises(SystemExit, match="no clips of both classes in: test"):
        main([*output, "--artifact", str(audio_artifact), "--audio-data", str(audio_dataset), "--split", "test"])
    with pytest.raises(SystemExit, match="cannot be read"):
        main([*output, "--artifact", str(tmp_path / "nowhere"), "--audio-data", str(audio_dataset)])


def test_further_data_are_splits_of_their_own(audio_dataset):
    found = further_clips([f"val2={audio_dataset}"], "auto")
    assert {clip.split for clip in found} == {"val2"}
    assert len(found) == 4  # its val clips, not those to train on
    for wrong in ("val2", f"test={audio_dataset}", "=x"):
        with pytest.raises(DatasetError, match="NAME=DIR"):
            further_clips([wrong], "auto")
