"""A dataclass field is an option; a preset and the command line say the same things."""

from __future__ import annotations

import re
from dataclasses import dataclass, fields
from pathlib import Path
from typing import Literal

import docstring_parser
import pytest
import yaml

from model_defs.networks.registry import NETWORKS
from model_defs.spec import AudioSpec, VideoSpec
from training.loop.train_config import TrainConfig
from training.run.config import AudioModel, DataConfig, FramesModel, RunConfig, VideoModel, saved_data
from training.run.options import OptionsParser, Section, preset_spec
from training.tasks.audio import AudioTraining
from training.tasks.video import VideoTraining
from training.train_audio import options as audio_options


@dataclass(frozen=True)
class Sizes:
    """An example.

    Attributes:
        rate: of learning; a line
            that goes on.
        n_steps: how many.
        mode: one of two.
        folders: some.
        start: may be none.
        fast: or slow.
    """

    rate: float = 0.1
    n_steps: int = 3
    mode: Literal["a", "b"] = "a"
    folders: tuple[Path, ...] = ()
    start: Path | None = None
    fast: bool = False

    def __post_init__(self) -> None:
        if self.n_steps < 1:
            raise ValueError(f"n_steps is {self.n_steps}; it must be above 0")


def parser(**defaults) -> OptionsParser:
    return OptionsParser("example", [Section("sizes", Sizes)], defaults, {})


def preset(tmp_path: Path, text: str) -> str:
    path = tmp_path / "preset.yaml"
    path.write_text(text)
    return str(path)


def made(argv: list[str], **defaults) -> Sizes:
    return parser(**defaults).settings(argv).make(Sizes)


def test_command_line_beats_preset_beats_script_beats_dataclass(tmp_path):
    path = preset(tmp_path, "script: example\nrate: 2e-4\nn-steps: 5\nfolders: [x, y]\n")
    assert made([], rate=0.3) == Sizes(rate=0.3)
    assert made(["--config", path], rate=0.3) == Sizes(2e-4, 5, folders=(Path("x"), Path("y")))
    assert made(["--config", path, "--n_steps=7", "--fast", "--folders", "z"]) == Sizes(
        2e-4, 7, folders=(Path("z"),), fast=True
    )
    assert made(["--n-steps", "7", "--no-fast", "--start", "none"], fast=True) == Sizes(n_steps=7)


def test_shown_settings_are_a_preset_that_gives_them_again(tmp_path, capsys):
    argv = ["--rate", "0.5", "--mode", "b", "--start", "here", "--folders", "a", "b"]
    with pytest.raises(SystemExit) as ended:
        parser().settings([*argv, "--show-config"])
    assert not ended.value.code
    shown = capsys.readouterr().out
    assert yaml.safe_load(shown)["folders"] == ["a", "b"]
    assert made(["--config", preset(tmp_path, shown)]) == made(argv)


def said(capsys) -> str:
    """What was printed to stderr, in one line and without the box around it."""
    return " ".join(re.sub(r"[│╭╮╰╯─]", " ", capsys.readouterr().err).split())


@pytest.mark.parametrize(
    ("text", "problem"),
    [
        ("learning_rate: 1", "Unrecognized options: --learning_rate"),
        ("n_steps: 2.5", "Error parsing --n-steps: invalid literal for int() with base 10: '2.5'"),
        ("n_steps: true", "Error parsing --n-steps: invalid literal for int() with base 10: 'True'"),
        ("n_steps: 0", "n_steps is 0; it must be above 0"),
        ("rate: quick", "Error parsing --rate: could not convert string to float: 'quick'"),
        ("mode: c", "invalid choice 'c' for argument '--mode'. Expected one of ('a', 'b')"),
        ("start: [x, y]", "Unrecognized options: y"),
        ("fast: 1", "invalid choice '1' for argument '--fast'. Expected one of ('True', 'False')"),
        ("script: other", "is a preset of training.other, not of training.example"),
        ("- 1", "holds no mapping"),
        ("a: [", "is no YAML"),
    ],
)
def test_wrong_preset_is_refused_by_name_with_what_is_allowed(tmp_path, capsys, text, problem):
    with pytest.raises(SystemExit) as ended:
        parser().settings(["--config", preset(tmp_path, text)])
    assert ended.value.code == 2
    errors = said(capsys)
    assert problem in errors
    assert "preset.yaml" in errors or "n_steps is 0" in errors  # which only the whole of the settings can tell


@pytest.mark.parametrize(
    ("argv", "problem"),
    [
        (["--mode", "c"], "invalid choice 'c' for argument '--mode'. Expected one of ('a', 'b')"),
        (["--n-steps", "x"], "Error parsing --n-steps: invalid literal for int()"),
        (["--steps", "1"], "Unrecognized options: --steps"),
        (["--config", "nowhere"], "no preset 'nowhere'; allowed: a file, or one of audio, "),
    ],
)
def test_wrong_command_line_is_refused(capsys, argv, problem):
    with pytest.raises(SystemExit) as ended:
        parser().settings(argv)
    assert ended.value.code == 2
    assert problem in said(capsys)


def test_help_shows_each_field_with_its_default(capsys):
    with pytest.raises(SystemExit):
        parser(rate=0.7).settings(["--help"])
    text = " ".join(capsys.readouterr().out.replace("│", " ").split())
    assert "--rate FLOAT of learning; a line that goes on. (default: 0.7)" in text
    assert "--mode {a,b}" in text


@pytest.mark.parametrize(
    "kind",
    [
        AudioSpec,
        VideoSpec,
        DataConfig,
        RunConfig,
        AudioModel,
        FramesModel,
        VideoModel,
        TrainConfig,
        AudioTraining,
        VideoTraining,
    ],
)
def test_every_setting_is_documented(kind):
    documented = {param.arg_name for param in docstring_parser.parse(kind.__doc__).params}
    assert documented >= {field.name for field in fields(kind)}


def test_publishing_divides_the_data_as_the_run_did(tmp_path):
    checkpoint = tmp_path / "model.pt"
    assert saved_data(checkpoint) == DataConfig()  # a checkpoint from elsewhere
    argv = ["--dataset", "x", "--splits", "own", "--val-share", "0.3", "--split-seed", "7"]
    (tmp_path / "model.config.yaml").write_text(audio_options().settings(argv).to_yaml())
    assert saved_data(checkpoint) == DataConfig(splits="own", val_share=0.3, split_seed=7)


def test_data_set_must_be_named(capsys):
    with pytest.raises(SystemExit):
        audio_options().settings([])
    assert "--dataset is required" in capsys.readouterr().err


def test_precision_of_gpus_may_be_asked_for():
    assert audio_options().settings(["--dataset", "x", "--precision", "fp16"])["precision"] == "fp16"


def test_input_of_a_preset(tmp_path):
    spec = preset_spec(preset(tmp_path, "network: mfcc_gru_light\nhop_length: 512\nlr: 1.0\n"))
    assert spec.hop_length == 512
    assert spec.n_mfcc == NETWORKS["mfcc_gru_light"].spec.n_mfcc
    with pytest.raises(ValueError, match="names no network"):
        preset_spec(preset(tmp_path, "hop_length: 512"))
