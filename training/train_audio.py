"""Train an audio network on labelled clips.

python -m training.train_audio --dataset clips/ --epochs 30 --batch-size 16 --lr 0.001 --device cuda
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from torch import nn

from model_defs.networks.registry import build_network
from model_defs.networks.weights import load_weights
from training.run.config import audio_parser, input_spec
from training.run.lifecycle import Prepared, command, train
from training.run.options import OptionsParser
from training.tasks.audio import AudioTask, AudioTraining

EPILOG = """examples:
  the classic form:
    %(prog)s --dataset clips/ --save-path runs/audio/model.pt --epochs 30 --batch-size 16 --lr 0.001 --device cuda
  a preset, and what it sets otherwise; whatever a preset can say the command line can, and the other way round:
    %(prog)s --config mfcc_gru_light --dataset clips/ --epochs 10
    %(prog)s --config bands_cnn_gru --show-config
  on two GPUs of one machine:
    torchrun --nproc-per-node 2 -m training.train_audio --config bands_cnn_gru --dataset clips/
  after an interruption, the same command with --resume; a finished run goes on with --resume and more --epochs.

What a run leaves beside --save-path, which is the best epoch by validation AUC: .last.pt (to resume), .config.yaml
(the settings), .history.json and .history.png, .tensorboard/, and in .exported/ the TorchScript artifacts, the
evaluation and the model card.
"""
DEFAULTS = {"epochs": 30, "lr": 1e-3, "batch_size": 32}


def options() -> OptionsParser:
    """The options of this script."""
    return audio_parser("train_audio", DEFAULTS, description=__doc__.split("\n\n")[0], epilog=EPILOG)


def main(argv: Sequence[str] | None = None) -> Path:
    """Train as the arguments say; returns the path of the best checkpoint."""
    settings = options().settings(argv)
    spec = input_spec(settings)

    def make_task(train_clips: Prepared, val_clips: Prepared, device: str) -> tuple[nn.Module, AudioTask]:
        net = load_weights(settings["init"])[0] if settings["init"] else build_network(settings["network"])
        training = settings.make(AudioTraining, device=device)
        return net, AudioTask(settings["network"], spec, train_clips, val_clips, training)

    return train(settings, spec, make_task)


if __name__ == "__main__":
    command(main)
