"""docs/guide.md: the guide's commands and code as they work here, on tiny clips."""

from __future__ import annotations

import os
import re
import shlex
from pathlib import Path

import pytest

from deepdetect import DeepfakeDetector
from model_defs.networks.registry import NETWORKS
from tests.conftest import PROJECT_DIR
from training import train_audio, train_video

PAGE = (PROJECT_DIR / "docs" / "guide.md").read_text(encoding="utf-8")
SCRIPTS = {"training.train_video": train_video.main, "training.train_audio": train_audio.main}
# The page's values, and what they are here; short options after the page's own win.
HERE = {"--epochs": "1", "--device": "cpu", "--batch_size": "2"}
SMALL = {
    "training.train_video": "--network mobilenet_v2_lstm --backbone-weights none --train-px 64 --train-frames 2 "
    "--no-export",
    "training.train_audio": "--network mfcc_gru_light --hop-length 1024 --mixup 0",
}
RESULT_KEYS = {"prediction", "confidence", "probabilities", "file_name", "file_type", "processing_time", "device"}

pytestmark = [pytest.mark.usefixtures("few_resamples"), pytest.mark.timeout(600)]


def blocks(language: str) -> list[str]:
    return re.findall(rf"^```{language}\n(.*?)^```", PAGE, flags=re.MULTILINE | re.DOTALL)


@pytest.fixture(scope="module")
def folder(tmp_path_factory, video_dataset, audio_dataset, sample_clip, few_resamples) -> Path:
    """A folder in which the page's commands were run, and its files lie where the page has them."""
    folder = tmp_path_factory.mktemp("guide")
    (folder / "path" / "to").mkdir(parents=True)
    for kind, dataset in (("video", video_dataset), ("audio", audio_dataset)):
        (folder / "path" / "to" / f"{kind}_dataset").symlink_to(dataset)
    # The clips that it trains on show no face, without which there is no verdict on a picture.
    (folder / "path" / "to" / "video.mp4").write_bytes(sample_clip.read_bytes())
    (folder / "path" / "to" / "audio.wav").write_bytes(next(audio_dataset.rglob("*.wav")).read_bytes())
    before = Path.cwd()
    os.chdir(folder)
    try:
        for command in blocks("bash"):
            words = shlex.split(command.replace("\\\n", " "))
            assert words[:2] == ["python", "-m"]
            arguments = [HERE.get(option, value) for option, value in zip(["", *words[3:]], words[3:], strict=False)]
            SCRIPTS[words[2]]([*arguments, *SMALL[words[2]].split(), "--workers", "0", "--cache", "cache"])
    finally:
        os.chdir(before)
    return folder


def test_the_page_trains_both_models_and_its_code_runs_on_them(folder, monkeypatch, capsys):
    monkeypatch.chdir(folder)
    predict, optimize = blocks("python")
    values: dict[str, object] = {}
    exec(predict.replace('device="cuda"', 'device="cpu"'), values)
    exec(optimize.replace("1, 10, 3, 224, 224", "1, 2, 3, 64, 64").replace("n_runs=100", "n_runs=2"), values)
    printed = capsys.readouterr().out
    for line in ("Prediction: ", "Confidence: ", "Device: cpu", "Quantization: True", "Cache size: 2", "Model size: "):
        assert line in printed
    assert values["result"].keys() >= RESULT_KEYS | {"timestamp"}
    assert values["result"]["probabilities"].keys() == {"real", "fake"}
    assert values["info"].keys() >= {"device", "quantization_enabled", "cache_size"}


@pytest.mark.parametrize(("use_quantization", "variant"), [(True, "int8"), (False, "fp32"), (None, "fp32")])
def test_a_checkpoint_is_quantized_in_memory_and_its_exported_folder_loads_too(folder, use_quantization, variant):
    checkpoint = folder / "runs" / "deepfake_audio_model.pt"
    exported = checkpoint.with_suffix(".exported")
    clip = folder / "path" / "to" / "audio.wav"
    alone = folder / f"alone-{variant}.pt"
    alone.write_bytes(checkpoint.read_bytes())
    scores = {}
    for path in (alone, checkpoint, exported):
        detector = DeepfakeDetector(audio_model_path=path, device="cpu", use_quantization=use_quantization)
        answer = detector.detect_audio(clip)
        assert answer["model"]["variant"] in (variant, "int8" if use_quantization is None else variant)
        scores[path] = answer["probabilities"]["fake"]
    assert max(scores.values()) - min(scores.values()) < 0.05


def test_a_checkpoint_that_was_trained_on_is_not_mistaken_for_its_older_export(folder):
    checkpoint = folder / "runs" / "deepfake_audio_model.pt"
    info = DeepfakeDetector(audio_model_path=checkpoint, device="cpu", use_quantization=True).get_model_info()
    assert info["models"]["audio"]["path"].endswith("deepfake_audio_model.exported/artifact")
    os.utime(checkpoint)
    info = DeepfakeDetector(audio_model_path=checkpoint, device="cpu", use_quantization=True).get_model_info()
    assert info["models"]["audio"]["path"] == str(checkpoint)


def test_every_network_and_file_that_the_page_names_exists():
    rows = "\n".join(re.findall(r"^\| `.*\| (.*) \|$", PAGE, flags=re.MULTILINE))
    for name in re.findall(r"`([\w/]+(?:\.py)?)`", rows):
        is_path = "/" in name and not name.startswith("http")
        assert (PROJECT_DIR / name).exists() if is_path else True, name
    named = set(re.findall(r"`((?:efficientnet|resnet|mobilenet|mfcc|moments)\w*)`", rows))
    assert named <= set(NETWORKS), named - set(NETWORKS)
