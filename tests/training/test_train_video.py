"""The real script on tiny clips, with pictures beside them."""

from __future__ import annotations

import io
import json
from dataclasses import replace
from pathlib import Path

import av
import cv2
import numpy as np
import pytest
import torch
from torch import nn

from model_defs.networks.artifact import load_artifact
from model_defs.networks.registry import NETWORKS, build_network
from model_defs.networks.weights import load_weights
from model_defs.spec import spec_from_dict, spec_to_dict
from tests.training.conftest import write_dataset
from training.data.datasets import load_dataset, select
from training.data.draws import Draw
from training.data.prepared import prepare
from training.evaluation.scores import score_clips
from training.pretrain_frames import main as pretrain_frames
from training.tasks.video import VideoTask, VideoTraining, _VideoExamples
from training.train_video import main as train_video

pytestmark = pytest.mark.usefixtures("few_resamples")


def encode_frames(frames: np.ndarray) -> bytes:
    """Frames (T, H, W, 3) uint8 as a clip, nearly without loss."""
    file = io.BytesIO()
    with av.open(file, "w", format="mp4") as output:
        stream = output.add_stream("libx264", rate=25, options={"crf": "10"})
        stream.height, stream.width, stream.pix_fmt = *frames.shape[1:3], "yuv420p"
        for frame in frames:
            output.mux(stream.encode(av.VideoFrame.from_ndarray(frame, format="rgb24")))
        output.mux(stream.encode(None))
    return file.getvalue()


def make_picture(index: int, label: int) -> bytes:
    pixels = np.random.default_rng(index).integers(0, 255, (64, 64, 3), dtype=np.uint8)
    return cv2.imencode(".png", pixels)[1].tobytes()


def test_script_trains_on_clips_and_pictures(video_dataset, tmp_path):
    pictures = write_dataset(tmp_path / "pictures", ".png", make_picture, n_train=4, n_val=0)
    manifest = pictures / "manifest.csv"
    manifest.write_text(manifest.read_text().replace("person", "portrait"))
    path = tmp_path / "runs" / "model.pt"
    train_video(
        [
            *(
                "--network",
                "mobilenet_v2_lstm",
                "--backbone-weights",
                "none",
                "--train-px",
                "64",
                "--train-frames",
                "2",
            ),
            *("--dataset", str(video_dataset), "--extra-dataset", str(pictures), "--cache", str(tmp_path / "cache")),
            *("--save-path", str(path), "--epochs", "2", "--batch-size", "2", "--workers", "0", "--device", "cpu"),
            "--no-export",
        ]
    )
    net, record = load_weights(path)
    assert record["network"] == "mobilenet_v2_lstm"
    assert len(json.loads(path.with_suffix(".history.json").read_text())) == 2
    assert net(torch.zeros(1, 3, 3, 64, 64))[0].shape == (1, 2)


@pytest.fixture(scope="module")
def striped_dataset(tmp_path_factory) -> Path:
    """Clips of four frames: real ones are noise, fake ones stripes."""

    def make_clip(index: int, label: int) -> bytes:
        rng = np.random.default_rng(index)
        noise = rng.integers(0, 255, (4, 64, 64, 3), dtype=np.uint8)
        stripes = np.broadcast_to(np.arange(64)[:, None, None] // 8 % 2 * 200, (4, 64, 64, 3)) + noise // 8
        return encode_frames(stripes.astype(np.uint8) if label else noise)

    return write_dataset(tmp_path_factory.mktemp("striped"), ".mp4", make_clip)


def write_settled_network(path: Path) -> Path:
    """A checkpoint as a pretrained one is to a run: its batch norms know what comes through them."""
    torch.manual_seed(0)
    net = build_network("mobilenet_v2_lstm").train()
    for module in net.modules():
        if isinstance(module, nn.BatchNorm2d):
            module.momentum = None  # the plain mean of what is seen
    with torch.no_grad():
        for _ in range(4):
            net(torch.randn(8, 2, 3, 1, 1) + torch.randn(8, 2, 3, 32, 32))
    spec = spec_to_dict(NETWORKS["mobilenet_v2_lstm"].spec)
    torch.save({"network": "mobilenet_v2_lstm", "spec": spec, "state": net.state_dict()}, path)
    return path


def test_script_learns_eight_clips_and_exports_what_it_learned(striped_dataset, tmp_path):
    path, start = tmp_path / "model.pt", write_settled_network(tmp_path / "start.pt")
    train_video(
        [
            *("--network", "mobilenet_v2_lstm", "--init", str(start), "--freeze-batch-norm"),
            *("--dataset", str(striped_dataset)),
            *("--size-px", "32", "--n-frames", "2", "--train-frames", "2", "--face-detector", "haar"),
            *("--epochs", "6", "--batch-size", "4", "--lr", "0.0003"),
            *("--save-path", str(path), "--cache", str(tmp_path / "cache"), "--workers", "0", "--device", "cpu"),
        ]
    )
    net, record = load_weights(path.with_suffix(".last.pt"))
    spec = spec_from_dict(record["spec"])
    history = json.loads(path.with_suffix(".history.json").read_text())
    assert history[-1]["train_loss"] < history[0]["train_loss"]
    train = select(load_dataset(striped_dataset), "train")
    scores = score_clips(net, prepare(train, spec, tmp_path / "cache", show_progress=False), spec)
    assert len(scores.labels) == 8
    assert ((scores.p_fake >= 0.5) == scores.labels).all()
    exported = path.with_suffix(".exported")
    assert {file.name for file in exported.iterdir()} == {
        *("model.safetensors", "quantization.safetensors", "anomaly.safetensors", "measured.json"),
        *("MODEL_CARD.md", "evaluation.json"),
        "artifact",
    }
    assert load_artifact(exported / "artifact", "cpu", "int8").spec == spec


@pytest.mark.parametrize("freeze", [True, False])
def test_batch_norm_keeps_its_statistics_if_told_to(freeze):
    training = VideoTraining(freeze_batch_norm=freeze)
    task = VideoTask("mobilenet_v2_lstm", NETWORKS["mobilenet_v2_lstm"].spec, [], [], training)
    net = nn.Sequential(nn.Conv2d(3, 4, 3), nn.BatchNorm2d(4), nn.Dropout()).eval()
    task.set_training(net)
    assert [module.training for module in net] == [True, not freeze, True]


def test_a_swapped_fake_takes_the_face_of_another_person(striped_dataset, tmp_path):
    spec = replace(NETWORKS["mobilenet_v2_lstm"].spec, size_px=32, n_frames=2, face_detector="haar")
    train = prepare(select(load_dataset(striped_dataset), "train"), spec, tmp_path / "cache", show_progress=False)
    people = [replace(item, n_faces=item.n_frames) for item in train]  # noise holds no face to be found

    def forged(items, seed, swapped_share):
        training = VideoTraining(size_px=32, n_frames=2, swapped_share=swapped_share)
        inputs, label = _VideoExamples(items, spec, training)[Draw(0, seed, True)]
        assert label == 1
        return inputs

    for seed in range(4):
        assert not torch.equal(forged(people, seed, 1.0), forged(people, seed, 0.0))
        assert torch.isfinite(forged(people[:1], seed, 1.0)).all()  # nobody else is there: it gets its own face


@pytest.mark.parametrize("name", ["self_blended_share", "swapped_share", "h264_share"])
def test_a_share_beyond_one_is_refused(name):
    with pytest.raises(ValueError, match=f"{name} is 1.5; it must lie in 0 <= x <= 1"):
        VideoTraining(**{name: 1.5})


def test_pretrained_backbone_is_taken_over_and_may_be_frozen(video_dataset, tmp_path):
    common = ["--network", "mobilenet_v2_lstm", "--train-px", "64", "--dataset", str(video_dataset), "--workers", "0"]
    common += ["--cache", str(tmp_path / "cache"), "--epochs", "1", "--device", "cpu"]
    frames = pretrain_frames(
        [*common, "--backbone-weights", "none", "--batch-size", "4", "--save-path", str(tmp_path / "frames.pt")]
    )
    start = ["--init-backbone", str(frames), "--freeze-backbone", "--train-frames", "2"]
    clips = train_video([*common, *start, "--no-export", "--save-path", str(tmp_path / "clips.pt")])
    before = torch.load(frames, weights_only=True)["state"]
    after = torch.load(clips, weights_only=True)["state"]
    backbone = [name for name in before if name.startswith("backbone.")]
    assert backbone
    assert all(torch.equal(before[name], after[name]) for name in backbone)


def test_frames_alone_make_a_whole_network_that_goes_on_from_its_checkpoint(video_dataset, tmp_path):
    common = [
        "--network",
        "efficientnet_b0_frames",
        "--train-px",
        "64",
        "--dataset",
        str(video_dataset),
        "--workers",
        "0",
    ]
    common += ["--cache", str(tmp_path / "cache"), "--epochs", "1", "--device", "cpu", "--batch-size", "4"]
    first = pretrain_frames([*common, "--backbone-weights", "none", "--save-path", str(tmp_path / "first.pt")])
    further = pretrain_frames([*common, "--init", str(first), "--lr", "1e-9", "--save-path", str(tmp_path / "next.pt")])
    before, after = (load_weights(path)[0].classifier[1].weight for path in (first, further))
    torch.testing.assert_close(before, after, atol=1e-6, rtol=0)
    assert not torch.equal(before, after)
