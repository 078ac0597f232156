"""Growing: new clips are learned beside replayed ones, and groups stay apart."""

from __future__ import annotations

import json
import math
from pathlib import Path

import numpy as np
import pytest
import torch
from torch import nn

from model_defs.networks.audio_svm import KernelMachine
from model_defs.networks.registry import build_network
from model_defs.networks.weights import load_weights, save_weights
from model_defs.spec import spec_to_dict
from tests.clips import tone, write_audio
from tests.training.artifacts import AUDIO_SPEC
from tests.training.conftest import write_dataset
from training.data.datasets import Clip, DatasetError
from training.finetune import continual, few_shot
from training.finetune.clips import Read, halve, head_parameters, new_clips
from training.finetune.continual import ContinualConfig, _ReplayBatches
from training.finetune.few_shot import adapt, choose_rate, worth
from training.loop.checkpoint import RunError


def fake(name: str, group: str, split: str, system: str = "a") -> Clip:
    return Clip(Path(name), 1, group, split, system=system)


@pytest.fixture(scope="module")
def weights(tmp_path_factory) -> Path:
    torch.manual_seed(0)
    folder = tmp_path_factory.mktemp("weights")
    meta = {"network": "mfcc_gru_light", "spec": spec_to_dict(AUDIO_SPEC), "labels": ["real", "fake"]}
    save_weights(folder / "model.safetensors", build_network("mfcc_gru_light").eval(), meta)
    return folder


@pytest.fixture(scope="module")
def new_folder(tmp_path_factory) -> Path:
    """Fakes that wobble, which the tones and hoarse sounds of the data set do not; real ones are hoarse."""

    def make_clip(index: int, label: int) -> bytes:
        sound = tone(0.5, frequency_hz=300 + 50 * index)
        wobble = 0.5 + 0.5 * np.sin(2 * np.pi * 9 * np.arange(len(sound)) / 16_000)
        noise = np.random.default_rng(index + 100).normal(0, 0.3, len(sound))
        return write_audio(sound=(sound * wobble if label else 0.2 * sound + noise).astype(np.float32), duration_s=0.5)

    return write_dataset(tmp_path_factory.mktemp("new"), ".wav", make_clip, n_train=12, n_val=4)


@pytest.mark.parametrize("n_first", [None, 3])
def test_halves_share_no_group(n_first):
    clips = [fake(f"{index}", f"group {index // 2}", "val") for index in range(12)]
    first, second = halve(clips, seed=1, n_first=n_first)
    assert not {clip.group for clip in first} & {clip.group for clip in second}
    assert len(first) == (n_first or 6)
    assert halve(clips, seed=1, n_first=n_first) == (first, second)


def test_one_group_cannot_be_halved():
    with pytest.raises(DatasetError, match="one group"):
        halve([fake("a", "same", "val"), fake("b", "same", "val")])


def test_new_systems_are_those_of_val_that_train_lacks():
    clips = [fake("1", "g", "train", "known"), fake("2", "h", "val", "known"), fake("3", "i", "val", "new")]
    clips.append(fake("4", "j", "test", "newer"))
    assert [clip.path.name for clip in new_clips(clips, None, ["new"])] == ["3"]
    for name in ("known", "newer", "absent"):
        with pytest.raises(DatasetError, match=f"{name}.*such systems: new$"):
            new_clips(clips, None, [name])
    assert [clip.path.name for clip in new_clips(clips, None, ["newer"], with_test=True)] == ["4"]
    with pytest.raises(DatasetError, match="one way"):
        new_clips(clips, None, [])


def test_the_old_network_is_heeded_on_old_examples_alone():
    class Sure(nn.Module):
        def forward(self, inputs):
            return torch.tensor([[1.0, 3.0]]).log().repeat(len(inputs), 1), inputs  # P(fake) = 3/4

    old = [(torch.zeros(2, 1), torch.tensor([0, 1]))]
    new = [(torch.ones(1, 1), torch.tensor([1]))]
    ((inputs, targets),) = _ReplayBatches(old, new, Sure(), distillation=0.5)
    assert inputs.flatten().tolist() == [0.0, 0.0, 1.0]
    unheard, said = [0.0, 0.0], [0.0, math.log(3.0)]
    expected = torch.tensor([[1.0, 0.0, *said, 0.5], [0.0, 1.0, *said, 0.5], [0.0, 1.0, *unheard, 0.0]])
    torch.testing.assert_close(targets, expected)
    ((inputs, targets),) = _ReplayBatches(None, new, Sure(), distillation=0.5)  # without replay
    torch.testing.assert_close(targets, expected[2:])


@pytest.mark.parametrize(
    ("setting", "named"), [({"replay_share": 1.0}, "replay_share"), ({"part": "tail"}, "all, head")]
)
def test_bad_settings_are_refused(setting, named):
    with pytest.raises(RunError, match=named):
        ContinualConfig(**setting)


@pytest.mark.parametrize("part", ["all", "head"])
def test_continual_learning_trains_the_part_asked_for_and_reports_old_and_new(
    weights, audio_dataset, new_folder, tmp_path, capsys, part
):
    path = tmp_path / "model.pt"
    arguments = [weights, "--dataset", audio_dataset, "--new", new_folder, "--cache", tmp_path / "cache"]
    arguments += ["--epochs", 1, "--batch-size", 4, "--part", part, "--save-path", path, "--no-export", "--workers", 1]
    continual.main([str(argument) for argument in arguments])
    found = json.loads((tmp_path / "model.continual.json").read_text())
    assert set(found["before"]) == set(found["after"]) == {"old", "new"}
    assert found["replay_share"] == 0.5
    assert "of other groups held out" in capsys.readouterr().out
    before, after = load_weights(weights / "model.safetensors")[0], load_weights(path)[0]
    moved = {
        name.partition(".")[0]
        for name, tensor in after.state_dict().items()
        if not torch.equal(tensor, before.state_dict()[name])
    }
    assert ("temporal" in moved) == (part == "all")
    assert "classifier" in moved


@pytest.fixture(scope="module")
def toy() -> tuple[nn.Module, Read, Read, Read]:
    """A classifier that knows fakes of one kind; those of another differ along an axis that it does not look at."""
    rng = np.random.default_rng(0)

    def read(centre: tuple[float, float], label: int, n: int) -> Read:
        vectors = torch.from_numpy(rng.normal(0, 1, (n, 2)) + centre).float()
        clips = tuple(fake(f"{label}-{index}", f"group {index}", "train") for index in range(n))
        return Read(vectors, torch.full((n,), label), clips)

    real, known, new = read((0, 0), 0, 200), read((3, 0), 1, 200), read((0, 4), 1, 60)
    old = Read(
        torch.cat([real.vectors, known.vectors]), torch.cat([real.labels, known.labels]), real.clips + known.clips
    )
    classifier = nn.Linear(2, 2)
    with torch.no_grad():
        classifier.weight.copy_(torch.tensor([[0.0, 0.0], [2.0, 0.0]]))
        classifier.bias.copy_(torch.tensor([0.0, -3.0]))
    return classifier, old, real, new


def test_few_shots_teach_a_new_kind_and_keep_the_old(toy):
    classifier, old, real, new = toy
    shots, rest, none = new.pick(range(10)), new.pick(range(10, 60)), old.pick([])
    rate = choose_rate(classifier, shots, old)
    assert rate in few_shot.RATES
    adapted = adapt(classifier, shots, old, rate)
    assert worth(classifier, rest, real)[0] < 0.65
    assert worth(adapted, rest, real)[0] > worth(classifier, rest, real)[0] + 0.1
    assert worth(adapted, old, none)[0] > worth(classifier, old, none)[0] - 0.03
    torch.testing.assert_close(adapt(classifier, shots, old, rate).weight, adapted.weight)  # the same each time


def test_a_kernel_machine_gets_the_shots_as_centres_and_moves_its_pulls_alone(toy):
    _, old, real, new = toy
    torch.manual_seed(0)
    machine = KernelMachine(2, 500)
    with torch.no_grad():  # old clips are its support_vectors, and 100 places are free
        machine.support_vectors[:400] = old.vectors
        machine.dual_coefficients.zero_()
        machine.dual_coefficients[:400] = nn.functional.one_hot(old.labels, 2).float() - 0.5
    before = machine.support_vectors.clone()
    shots, rest = new.pick(range(10)), new.pick(range(10, 60))
    adapted = adapt(machine, shots, old, 0.03)
    assert torch.equal(machine.support_vectors, before)
    assert torch.equal(adapted.support_vectors[:400], before[:400])
    assert torch.equal(adapted.support_vectors[400:410], shots.vectors)
    assert worth(adapted, rest, real)[0] > worth(machine, rest, real)[0] + 0.02
    assert worth(adapted, old, old.pick([]))[0] > worth(machine, old, old.pick([]))[0] - 0.03
    assert sum(parameter.numel() for parameter in head_parameters(machine)) == 500 * 2 + 2
    assert torch.equal(adapt(machine, shots, old, 0.0).dual_coefficients, machine.dual_coefficients)


def test_few_shot_command_compares_with_and_without_and_keeps_a_checkpoint(
    weights, audio_dataset, new_folder, tmp_path, capsys, monkeypatch
):
    monkeypatch.setattr(few_shot, "RATES", (1e-3, 3e-3))  # without 0: something is to change
    arguments = [weights, "--dataset", audio_dataset, "--new", new_folder, "--cache", tmp_path / "cache"]
    arguments += ["--shots", 6, "--draws", 2, "--workers", 1, "--save-path", tmp_path / "few" / "model.pt"]
    few_shot.main([str(argument) for argument in arguments])
    lines = capsys.readouterr().out.splitlines()
    assert [line.split()[1] for line in lines if line.strip().startswith("6 ")] == ["without", "with"]
    adapted, record = load_weights(tmp_path / "few" / "model.pt")
    assert record["network"] == "mfcc_gru_light"
    before = load_weights(weights / "model.safetensors")[0]
    assert torch.equal(adapted.state_dict()["norm.weight"], before.state_dict()["norm.weight"])
    assert not torch.equal(adapted.classifier[0].weight, before.classifier[0].weight)
