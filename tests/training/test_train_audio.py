"""The real script on tiny clips: it learns them, resumes, and its checkpoint loads."""

from __future__ import annotations

import json
import shutil
from pathlib import Path

import pytest
import torch

from model_defs.networks.artifact import load_artifact
from model_defs.networks.weights import load_weights
from model_defs.spec import spec_from_dict
from tests.training.conftest import write_dataset
from training.data.datasets import DatasetError, LeakError, load_dataset, select
from training.data.prepared import prepare
from training.evaluation.scores import score_clips
from training.run.lifecycle import export
from training.train_audio import main

pytestmark = pytest.mark.usefixtures("few_resamples")


def run(dataset, tmp_path, *more: str):
    common = [
        "--network",
        "mfcc_gru_light",
        "--hop-length",
        "1024",
        "--workers",
        "0",
        "--device",
        "cpu",
        "--mixup",
        "0",
    ]
    return main([*common, "--dataset", str(dataset), "--cache", str(tmp_path / "cache"), *more])


@pytest.fixture(scope="module")
def trained(audio_dataset, few_resamples, tmp_path_factory) -> Path:
    """The checkpoint of a run that ended as runs do, with its exported folder beside it."""
    folder = tmp_path_factory.mktemp("trained")
    options = ("--network", "mfcc_bigru", "--epochs", "10", "--batch_size", "4", "--lr", "0.003")
    return run(audio_dataset, folder, "--save_path", str(folder / "model.pt"), *options)


def test_script_learns_eight_clips(trained, audio_dataset):
    net, record = load_weights(trained.with_suffix(".last.pt"))  # the best on four val clips may be an early one
    spec = spec_from_dict(record["spec"])
    assert spec.hop_length == 1024
    assert not net.training
    history = json.loads(trained.with_suffix(".history.json").read_text())
    assert history[-1]["train_loss"] < history[0]["train_loss"]
    train = select(load_dataset(audio_dataset), "train")
    scores = score_clips(net, prepare(train, spec, trained.parent / "cache", show_progress=False), spec)
    assert len(scores.labels) == 8
    assert ((scores.p_fake >= 0.5) == scores.labels).all()


def test_run_ends_with_what_serving_needs(trained):
    exported = trained.with_suffix(".exported")
    _, record = load_weights(trained)
    evaluation = json.loads((exported / "evaluation.json").read_text())
    assert evaluation["metrics"]["val"]["fp32"]["auc"]["value"] == record["val"]["val_auc"]
    assert (exported / "MODEL_CARD.md").read_text().startswith("# Model card: mfcc_bigru")
    spec = spec_from_dict(record["spec"])
    for variant in ("fp32", "int8"):
        artifact = load_artifact(exported / "artifact", "cpu", variant)
        assert artifact.spec == spec
        assert artifact.forward(torch.zeros(1, spec.n_steps, spec.n_features))[0].shape == (1, 2)


def test_network_at_chance_is_not_exported(trained, audio_dataset, tmp_path, capsys):
    backwards = torch.load(trained, weights_only=True)
    for name in ("classifier.6.weight", "classifier.6.bias"):
        backwards["state"][name] *= -1
    path = tmp_path / "backwards.pt"
    torch.save(backwards, path)
    assert export(path, load_dataset(audio_dataset), trained.parent / "cache", n_workers=1) is None
    assert "no better than chance" in capsys.readouterr().out
    assert not path.with_suffix(".exported").joinpath("artifact").exists()


def test_finished_run_resumes_to_nothing(audio_dataset, tmp_path):
    path = tmp_path / "model.pt"
    arguments = ("--save-path", str(path), "--epochs", "1", "--batch-size", "4", "--no-export")
    run(audio_dataset, tmp_path, *arguments)
    before = torch.load(tmp_path / "model.last.pt", weights_only=True)
    run(audio_dataset, tmp_path, *arguments, "--resume")
    after = torch.load(tmp_path / "model.last.pt", weights_only=True)
    assert before["history"] == after["history"]


def test_bands_are_trained_from_augmented_copies_and_parts_of_windows(audio_dataset, tmp_path):
    path = tmp_path / "model.pt"
    options = ("--augmented-copies", "2", "--train-share", "0.5", "--mixup", "1", "--epochs", "2", "--batch-size", "4")
    main(
        [
            *("--network", "bands_cnn_gru", "--workers", "0", "--device", "cpu", "--dataset", str(audio_dataset)),
            *("--cache", str(tmp_path / "cache"), "--save-path", str(path), "--no-export", *options),
        ]
    )
    net, record = load_weights(path)
    spec = spec_from_dict(record["spec"])
    assert spec.features == "linear_bands"
    assert net(torch.zeros(1, spec.n_steps, spec.n_features))[0].shape == (1, 2)


def test_self_vocoded_fakes_are_drawn_beside_the_clips(audio_dataset, tmp_path):
    path = tmp_path / "model.pt"
    vocoded = ("--vocoded-share", "0.5", "--vocoders", "mel", "phase", "--augmented-copies", "1", "--epoch-size", "2")
    run(
        audio_dataset, tmp_path, "--save-path", str(path), "--epochs", "1", "--batch-size", "4", "--no-export", *vocoded
    )
    n_real = len([clip for clip in select(load_dataset(audio_dataset), "train") if clip.label == 0])
    assert len(list((tmp_path / "cache").glob("audio-*/vocoded/*.npy"))) == 2 * n_real
    assert len(load_weights(path)[1]["val"]) > 0


def test_a_vocoder_that_is_not_there_is_refused_by_name(audio_dataset, tmp_path, capsys):
    with pytest.raises(SystemExit):
        run(audio_dataset, tmp_path, "--vocoders", "wavenet")
    assert "vocoders" in capsys.readouterr().err


def test_one_class_alone_cannot_be_trained_on(tmp_path):
    folder = write_dataset(tmp_path / "data", ".wav", lambda index, label: b"", n_train=1, n_val=2)
    with pytest.raises(DatasetError, match="train split of .* has no fake clip"):
        run(folder, tmp_path)


def test_train_clip_that_is_a_test_clip_under_another_name_stops_the_run(audio_dataset, tmp_path):
    folder = tmp_path / "data"
    shutil.copytree(audio_dataset, folder)
    shutil.copy(folder / "train" / "real_0.wav", folder / "taken.wav")
    with (folder / "manifest.csv").open("a") as rows:
        rows.write("taken.wav,real,test,somebody\n")
    with pytest.raises(LeakError, match="hold the same bytes"):
        run(folder, tmp_path)


def test_help_teaches(capsys):
    with pytest.raises(SystemExit) as exit_info:
        main(["--help"])
    assert exit_info.value.code == 0
    text = capsys.readouterr().out
    assert "examples:" in text
    for option in ("--dataset", "--save-path", "--epochs", "--batch-size", "--lr", "--device", "--resume"):
        assert option in text
