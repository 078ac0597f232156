from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
import torch

from model_defs.networks.registry import NETWORKS, build_network
from model_defs.spec import AudioSpec, VideoSpec
from training.compress.distillation import (
    Distillation,
    DistillationTask,
    TeacherEnsemble,
    copy_fitting,
    shared_views,
)
from training.data.datasets import load_dataset
from training.data.prepared import prepare
from training.loop.checkpoint import RunError
from training.loop.engine import fit
from training.loop.train_config import TrainConfig
from training.tasks.audio import AudioTask, AudioTraining
from training.tasks.video import VideoTask, VideoTraining

BANDS = replace(NETWORKS["bands_cnn_gru"].spec, hop_length=1024)


@pytest.fixture(scope="module")
def sounds(audio_dataset, tmp_path_factory):
    """(train, val), prepared; the arrays are of the waveform, which both specs below share."""
    prepared = prepare(load_dataset(audio_dataset), BANDS, tmp_path_factory.mktemp("cache"), show_progress=False)
    return tuple([item for item in prepared if item.clip.split == split] for split in ("train", "val"))


def test_both_front_ends_are_shown_the_same_sound(sounds):
    student = replace(AudioSpec(), hop_length=512)
    task = AudioTask("bands_cnn_gru", BANDS, *sounds, AudioTraining(batch_size=4, mixup_share=1.0, train_share=0.5))
    paired, views = shared_views(BANDS, student, sounds[0], task)
    inputs, shares = next(iter(paired.batches(0)))
    of_teacher, of_student = views(inputs)
    assert of_teacher.shape == (4, round(BANDS.n_steps / 2), 80)
    assert of_student.shape == (4, round(student.n_steps / 2), 120)
    assert shares.shape == (4, 2)
    examples = paired._examples
    alone = AudioTask("audio", student, *sounds, task.training)._examples
    rows = examples.augmented(sounds[0][0], np.random.default_rng(3))
    expected = alone.augmented(sounds[0][0], np.random.default_rng(3))
    torch.testing.assert_close(rows[BANDS.n_steps * 80 :].view(student.n_steps, 120), expected)


def test_video_of_another_size_is_shrunk_and_other_crops_are_refused():
    teacher = VideoSpec(size_px=64)
    task = VideoTask("efficientnet_b0_frames", teacher, [], [], VideoTraining())
    same_task, views = shared_views(teacher, replace(teacher, size_px=32), [], task)
    frames = torch.randn(2, 3, 3, 64, 64)
    of_teacher, of_student = views(frames)
    assert same_task is task
    assert torch.equal(of_teacher, frames)
    torch.testing.assert_close(of_student, frames.unflatten(-1, (32, 2)).unflatten(-3, (32, 2)).mean(dim=(-1, -3)))
    with pytest.raises(RunError, match=r"face_margin 0\.1, not 0\.3"):
        shared_views(teacher, replace(teacher, face_margin=0.1), [], task)
    with pytest.raises(RunError, match="at most the teacher's 64"):
        shared_views(teacher, replace(teacher, size_px=128), [], task)
    with pytest.raises(RunError, match="cannot learn from"):
        shared_views(teacher, AudioSpec(), [], task)


def test_several_teachers_give_the_mean_of_their_logits_each_at_its_own_size():
    large, small = VideoSpec(size_px=64), VideoSpec(size_px=32)
    nets = [build_network("efficientnet_lite0_early_frames").eval() for _ in range(2)]
    frames = torch.randn(2, 1, 3, 64, 64)
    shrunk = frames.unflatten(-1, (32, 2)).unflatten(-3, (32, 2)).mean(dim=(-1, -3))
    with torch.no_grad():
        found = TeacherEnsemble([(nets[0], large), (nets[1], small)])(frames)[0]
        expected = (nets[0](frames)[0] + nets[1](shrunk)[0]) / 2
    torch.testing.assert_close(found, expected)
    with pytest.raises(RunError, match="size_px of another teacher is 64; at most the teacher's 32"):
        TeacherEnsemble([(nets[1], small), (nets[0], large)])


def test_student_comes_to_answer_as_its_teacher(sounds, tmp_path):
    train, val = sounds
    spec = replace(NETWORKS["bands_cnn_gru_light"].spec, hop_length=2048)
    torch.manual_seed(0)
    teacher, student = build_network("bands_cnn_gru").eval(), build_network("bands_cnn_gru_light")
    with torch.no_grad():
        teacher.classifier[-1].bias.copy_(torch.tensor([-2.0, 2.0]))  # an answer that no student starts with
    task = AudioTask("bands_cnn_gru", BANDS, train, val, AudioTraining(batch_size=4, mixup_share=0.0, n_copies=1))
    task, views = shared_views(BANDS, spec, train, task)
    taught = DistillationTask(task, views, teacher, "bands_cnn_gru_light", spec, val, Distillation(weight=1.0))
    val[:] = prepare([item.clip for item in val], spec, tmp_path / "cache", show_progress=False)
    config = TrainConfig(epochs=8, lr=3e-3, warmup_share=0.0)
    history = fit(student, taught, config, tmp_path / "model.pt", loss=taught.loss(0.0))
    assert history[-1]["train_loss"] < 0.5 * history[0]["train_loss"]
    record = torch.load(tmp_path / "model.pt", weights_only=True)
    assert record["network"] == "bands_cnn_gru_light"
    assert record["spec"]["hop_length"] == 2048


def test_student_may_start_from_what_fits_of_its_teacher():
    teacher, student = build_network("efficientnet_lite0_frames"), build_network("efficientnet_lite0_early_frames")
    n_copied = copy_fitting(student, teacher)
    name = "backbone.features.4.0.block.0.0.weight"
    assert torch.equal(student.state_dict()[name], teacher.state_dict()[name])
    fitting = sum(key.startswith("backbone.") for key in student.state_dict())
    assert fitting < n_copied <= fitting + 2, "and the two biases behind it"


@pytest.mark.parametrize(("field", "value"), [("temperature", 0.0), ("weight", 1.1)])
def test_settings_out_of_range_are_refused(field, value):
    with pytest.raises(ValueError, match=field):
        Distillation(**{field: value})
