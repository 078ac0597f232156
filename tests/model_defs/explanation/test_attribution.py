"""Explanations say what the network does: each number is held against the network itself, each map by deletion."""

from __future__ import annotations

import cv2
import numpy as np
import pytest
import torch
from torch import nn

from model_defs.calibration import Calibration
from model_defs.decoding.media import Media
from model_defs.errors import ModelLoadError
from model_defs.explanation.attribution import (
    audio_cells,
    audio_heatmap,
    audio_scores,
    cover_each,
    explain_video,
    stretch_edges,
    video_cells,
)
from model_defs.inference.audio_predictor import AudioPredictor
from model_defs.inference.options import EXPLANATION_PARTS, DetectOptions
from model_defs.inference.video_predictor import VideoPredictor
from model_defs.limits import Limits
from model_defs.networks.artifact import Artifact
from model_defs.networks.backbones import Backbone
from model_defs.networks.registry import NETWORKS
from model_defs.networks.video import VideoNet
from model_defs.preprocessing.audio import AudioSample
from model_defs.preprocessing.video import VideoSample, video_tensor
from model_defs.spec import AudioSpec, VideoSpec

GREY = (124, 116, 104)  # the mean of ImageNet: the network's zero
DELETED = 0.2  # of the picture


@pytest.fixture(scope="module")
def video(artifacts_dir) -> VideoPredictor:
    return VideoPredictor(artifacts_dir / "video", "cpu", "fp32")


@pytest.fixture(scope="module")
def audio(artifacts_dir) -> AudioPredictor:
    return AudioPredictor(artifacts_dir / "audio", "cpu", "fp32")


@pytest.fixture(scope="module")
def faces(video, sample_clip) -> VideoSample:
    with Media(sample_clip, Limits()) as media:
        return video.sample(media, DetectOptions())


@pytest.fixture(scope="module")
def speech(audio, sample_clip) -> AudioSample:
    with Media(sample_clip, Limits()) as media:
        return audio.sample(media, DetectOptions())


def test_frame_scores_are_what_the_network_says(video, faces):
    record = video.explain(faces, ("scores",))

    def p_fake(frames: list[int]) -> float:
        logits, _ = video.artifact.forward(video_tensor(faces.crops[frames], video.artifact.spec)[None])
        return float(video.calibration.p_fake(logits.numpy())[0])

    everything = list(range(len(faces.times_s)))
    assert record["p_fake"] == pytest.approx(p_fake(everything), abs=2e-6)
    assert record["frame_p_fake"] == pytest.approx([p_fake([frame]) for frame in everything], abs=1e-5)
    for frame in (0, 4, 9):
        others = [other for other in everything if other != frame]
        assert record["frame_effect"][frame] == pytest.approx(record["p_fake"] - p_fake(others), abs=1e-5)
    assert sum(record["attention"]) == pytest.approx(1.0, abs=1e-4)
    assert "heatmap" not in record


def test_one_frame_cannot_be_left_out(video, faces):
    single = VideoSample(faces.crops[:1], faces.times_s[:1], faces.sources[:1], faces.boxes[:1], 0.0)
    record = video.explain(single, EXPLANATION_PARTS)
    assert record["frame_effect"] is None
    assert record["frame_p_fake"] == [record["p_fake"]]
    assert record["heatmap"]["frames"] == [0]


def test_audio_scores_are_what_the_network_says(audio, speech):
    record = audio.explain(speech, ("scores",))
    features = torch.as_tensor(speech.features)

    def p_fake(windows: torch.Tensor) -> np.ndarray:
        return audio.calibration.p_fake(audio.artifact.forward(windows)[0].numpy())

    assert record["window_p_fake"] == pytest.approx(p_fake(features), abs=2e-6)
    logits, _ = audio.artifact.forward(features)
    without_first = audio.calibration.p_fake(logits[1:].mean(0, keepdim=True).numpy())[0]
    assert record["window_effect"][0] == pytest.approx(record["p_fake"] - without_first, abs=2e-6)
    covered = features[1].clone()
    start, end = stretch_edges(len(covered), audio.artifact.spec)[2:4]
    covered[start:end] = features[1].mean(0)
    effect = record["window_p_fake"][1] - p_fake(covered[None])[0]
    assert record["stretch_effect"][1][2] == pytest.approx(effect, abs=5e-5)
    assert len(record["attention"][0]) == features.shape[1]
    assert record["step_s"] * features.shape[1] == pytest.approx(audio.artifact.spec.window_s, abs=1e-3)


def test_stretches_cover_a_window_without_a_gap():
    edges = stretch_edges(126, AudioSpec())
    assert (edges[0], edges[-1], len(edges)) == (0, 126, 9)
    window = torch.randn(126, 3)
    touched = (cover_each(window, edges) != window).any(2)
    assert (touched.sum(0) == 1).all()


def test_an_explanation_is_the_same_however_often_it_is_asked_for(artifacts_dir, faces, speech):
    for predictor, sample in ((VideoPredictor, faces), (AudioPredictor, speech)):
        fresh = predictor(artifacts_dir / predictor.modality, "cpu", "fp32")
        first = fresh.explain(sample, EXPLANATION_PARTS)
        before = fresh.score([sample])[0].p_fake
        assert [fresh.explain(sample, EXPLANATION_PARTS) for _ in range(3)] == [first] * 3
        assert fresh.score([sample])[0].p_fake == before


def test_the_map_finds_the_only_thing_that_tells_fake_from_real():
    net, spec, rng = _patch_detector(), VideoSpec(n_frames=4, size_px=48), np.random.default_rng(1)
    n_found = 0
    for _ in range(5):
        crops, corners = _patched_crops(rng, spec)
        cells = _cells(net, crops, spec)
        for frame_cells, (top, left) in zip(cells, corners, strict=True):
            peak = np.unravel_index(cv2.resize(frame_cells, (48, 48)).argmax(), (48, 48))
            n_found += top - 4 <= peak[0] < top + 16 and left - 4 <= peak[1] < left + 16
        high, low = _deletion(net, crops, cells, spec)
        assert high < low - 1
    assert n_found >= 16, f"{n_found} of 20 patches"  # by chance it would be 3


def test_greying_what_the_map_shows_moves_real_clips_most(video, data_dir):
    """The deletion test (V. Petsiuk et al., "RISE", 2018) over labelled clips, with the committed weights."""
    differences = []
    clips = sorted((data_dir / "video").rglob("*.mp4"))
    for path in clips[:: len(clips) // 12][:12]:
        with Media(path, Limits()) as media:
            crops = video.sample(media, DetectOptions()).crops
        net, spec = video.artifact.module, video.artifact.spec
        high, low = _deletion(net, crops, _cells(net, crops, spec), spec)
        differences.append(high - low)
    assert np.mean(differences) < -0.2, differences  # -0.61 over 25 other clips


def test_blanking_the_features_the_map_shows_moves_the_sound_most(audio, speech):
    features = torch.as_tensor(speech.features)
    cells = audio_cells(audio.artifact, features, Calibration()).reshape(len(features), -1)
    order, n_deleted = cells.argsort(1), cells.shape[1] // 100  # moments of a sound with more holes are no sound's
    margins = []
    for chosen in (order[:, -n_deleted:], order[:, :n_deleted]):
        blanked = features.flatten(1).clone().scatter_(1, torch.from_numpy(chosen), 0.0).view_as(features)
        logits, _ = audio.artifact.forward(blanked)
        margins.append((logits[:, 1] - logits[:, 0]).mean().item())
    assert margins[0] < margins[1] - 0.4  # 2.3 over 13 clips that are real or forged speech


@pytest.mark.parametrize("name", NETWORKS)
def test_every_network_can_be_explained(name):
    """Untrained: there is nothing to see, but every number is there and finite."""
    torch.manual_seed(0)
    network = NETWORKS[name]
    net = network.build(allow_random=True).eval()
    if network.modality == "video":
        spec = VideoSpec(size_px=64)
        crops = np.random.default_rng(0).integers(0, 256, (3, 64, 64, 3)).astype(np.uint8)
        sample = VideoSample(crops, [0.0, 1.0, 2.0], ["centre"] * 3, [None] * 3, 0.0)
        record = explain_video(Artifact(net, {}, spec, "fp32", "cpu"), sample, Calibration(), EXPLANATION_PARTS)
        assert record["p_fake"] == pytest.approx(np.mean(record["frame_p_fake"]), abs=0.05)
    else:
        spec = network.spec
        sample = AudioSample([0.0, 3.0], torch.randn(2, spec.n_steps, spec.n_features), 0.0)
        artifact = Artifact(net, {}, spec, "fp32", "cpu")
        record = audio_scores(artifact, sample, Calibration())
        assert np.isfinite(record["stretch_effect"]).all()
        record["heatmap"] = audio_heatmap(artifact, sample, Calibration())
    assert np.isfinite(record["attention"]).all()
    assert record["heatmap"]["full_scale_log_odds"] >= 0


def test_a_network_without_maps_says_that_it_must_be_exported_again(artifacts_dir, faces):
    old = Artifact(nn.Identity(), {}, VideoSpec(), "fp32", "cpu")
    with pytest.raises(ModelLoadError, match="export the model again"):
        explain_video(old, faces, Calibration(), EXPLANATION_PARTS)


def _cells(net: nn.Module, crops: np.ndarray, spec: VideoSpec) -> np.ndarray:
    with torch.no_grad():
        maps = net.feature_maps(video_tensor(crops, spec)[None])
    return video_cells(net.judge_maps, maps, Calibration())


def _deletion(net: nn.Module, crops: np.ndarray, cells: np.ndarray, spec: VideoSpec) -> tuple[float, float]:
    """Log-odds of fake with the highest, and with the lowest, part of every frame's map greyed."""
    size_px = crops.shape[1]
    n_deleted = int(DELETED * size_px**2)
    margins = []
    for chosen in (slice(-n_deleted, None), slice(None, n_deleted)):
        greyed = crops.copy()
        for frame, frame_cells in zip(greyed, cells, strict=True):
            enlarged = cv2.resize(frame_cells, (size_px, size_px), interpolation=cv2.INTER_LINEAR)
            frame.reshape(-1, 3)[enlarged.ravel().argsort()[chosen]] = GREY
        with torch.no_grad():
            logits, _ = net(video_tensor(greyed, spec)[None])
        margins.append(float(logits[0, 1] - logits[0, 0]))
    return margins[0], margins[1]


def _patched_crops(rng: np.random.Generator, spec: VideoSpec) -> tuple[np.ndarray, list[tuple[int, int]]]:
    """Noise with a chequered patch of 12 pixels in each frame, and where the patches are."""
    crops = rng.integers(90, 160, (spec.n_frames, spec.size_px, spec.size_px, 3)).astype(np.uint8)
    corners = [tuple(rng.integers(0, spec.size_px - 12, 2).tolist()) for _ in crops]
    for crop, (top, left) in zip(crops, corners, strict=True):
        crop[top : top + 12, left : left + 12] = (np.indices((12, 12)).sum(0) % 2 * 255)[..., None]
    return crops, corners


def _patch_detector() -> VideoNet:
    """A small network, trained here to call clips with the patch fake."""
    torch.manual_seed(0)
    rng, spec = np.random.default_rng(0), VideoSpec(n_frames=4, size_px=48)
    layers = [nn.Conv2d(3, 8, 3, 2, 1), nn.ReLU(), nn.Conv2d(8, 16, 3, 2, 1), nn.ReLU(), nn.Conv2d(16, 16, 3, 2, 1)]
    net = VideoNet(Backbone(nn.Sequential(*layers, nn.ReLU()), 16), n_projected=16, n_hidden=16, n_layers=1)
    optimizer = torch.optim.Adam(net.parameters(), 3e-3)
    for _ in range(60):
        clips = [_patched_crops(rng, spec)[0] for _ in range(4)]
        clips += [rng.integers(90, 160, clips[0].shape).astype(np.uint8) for _ in range(4)]
        logits, _ = net(torch.stack([video_tensor(clip, spec) for clip in clips]))
        optimizer.zero_grad()
        nn.functional.cross_entropy(logits, torch.tensor([1] * 4 + [0] * 4)).backward()
        optimizer.step()
    return net.eval()
