"""The real script on tiny clips: it learns them, resumes, and its checkpoint loads."""

from __future__ import annotations

import json

import pytest
import torch

from model_defs.spec import spec_from_dict
from model_defs.weights import load_weights
from training.datasets import DatasetError
from training.train_audio import main

from .conftest import write_dataset


def run(dataset, tmp_path, *more: str):
    common = ["--network", "audio_light", "--hop-length", "1024", "--workers", "0", "--device", "cpu", "--mixup", "0"]
    return main([*common, "--dataset", str(dataset), "--cache", str(tmp_path / "cache"), *more])


def test_script_learns_eight_clips(audio_dataset, tmp_path, capsys):
    path = tmp_path / "model.pt"
    kept = run(
        audio_dataset, tmp_path, "--save_path", str(path), "--epochs", "12", "--batch_size", "4", "--lr", "0.003"
    )
    assert kept == path
    net, record = load_weights(path)
    assert spec_from_dict(record["spec"]).hop_length == 1024
    assert not net.training
    history = json.loads((tmp_path / "model.history.json").read_text())
    assert history[-1]["train_loss"] < history[0]["train_loss"]
    assert history[-1]["train_loss"] < 0.5
    assert "auc" in capsys.readouterr().out


def test_finished_run_resumes_to_nothing(audio_dataset, tmp_path):
    path = tmp_path / "model.pt"
    arguments = ("--save-path", str(path), "--epochs", "1", "--batch-size", "4")
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
            *("--network", "audio_bands", "--workers", "0", "--device", "cpu", "--dataset", str(audio_dataset)),
            *("--cache", str(tmp_path / "cache"), "--save-path", str(path), *options),
        ]
    )
    net, record = load_weights(path)
    spec = spec_from_dict(record["spec"])
    assert spec.features == "linear_bands"
    assert net(torch.zeros(1, spec.n_steps, spec.n_features))[0].shape == (1, 2)


def test_one_class_alone_cannot_be_trained_on(tmp_path):
    folder = write_dataset(tmp_path / "data", ".wav", lambda index, label: b"", n_train=1, n_val=2)
    with pytest.raises(DatasetError, match="train split of .* has no fake clip"):
        run(folder, tmp_path)


def test_help_teaches(capsys):
    with pytest.raises(SystemExit) as exit_info:
        main(["--help"])
    assert exit_info.value.code == 0
    text = capsys.readouterr().out
    assert "examples:" in text
    for option in ("--dataset", "--save-path", "--epochs", "--batch-size", "--lr", "--device", "--resume"):
        assert option in text
