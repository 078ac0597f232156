"""Make a trained network smaller or quicker, and say what that cost.

    python -m training.compress COMMAND CHECKPOINT --dataset clips/

Every command judges the network before and after on the validation clips, as it would be served: AUC and EER with 95 %
intervals over groups, the change of the AUC on the same clips, size of the file (deflated) and of what is in it, time
of a forward pass taken in turns, largest difference of P(fake), share of equal verdicts.
"""

from __future__ import annotations

import argparse
from collections.abc import Callable, Sequence
from pathlib import Path

import torch
from rich.console import Console

from model_defs.networks.weights import sha256_of
from training.compress import comparison, steps
from training.compress.comparison import Entry
from training.compress.distillation import Distillation
from training.compress.session import CompressionSession, open_session
from training.run.lifecycle import command

TABLE_WIDTH = 190
PROG = "python -m training.compress"
EPILOG = """CHECKPOINT is what a training run kept, or the model.safetensors of published weights. How it is trained on
is read from the settings beside it (model.config.yaml), else from the preset of config/training that trains such
networks; --config names another. Every option of that script is taken as well and counts most, such as --epochs 5
--lr 1e-4 --cache DIR --device cuda (python -m training.train_audio --help, or train_video, pretrain_frames).

What a run leaves in --output (default: runs/compress/COMMAND-NETWORK):
  model.pt           the compressed network, for `python -m training.publish` and for further commands
  model.quantization.safetensors
                     int8 ranges, which publishing keeps (static and qat)
  comparison.json    every figure, with the machine, versions and date
  comparison.md      the table
"""
EXAMPLES = {
    "dynamic": """int8 weights for LSTM, GRU and linear layers, activations rounded as they come. Needs no data but
to be judged by. Convolutions stay fp32.

example:
  %(prog)s weights/audio/model.safetensors --dataset path/to/sounds
""",
    "static": """Besides, int8 convolutions: the ranges of their activations are calibrated on 40 train clips.
This is what publishing does by itself.

example:
  %(prog)s runs/video/model.pt --dataset path/to/videos
""",
    "qat": """Quantization-aware training: a few epochs in which the forward pass rounds as int8 does. For networks that
lose by calibrated int8. Ranges and batch-norm statistics are learned in the first --free-epochs, then frozen.

example:
  %(prog)s runs/video/model.pt --dataset path/to/videos --epochs 3 --free-epochs 1 --lr 2e-5
  python -m training.publish runs/compress/qat-efficientnet_b0_frames/model.pt \\
      --dataset path/to/videos --output weights/video
""",
    "prune": """L1 magnitude pruning, then fine-tuning of what is left. Zeros make a compressed file smaller and nothing
quicker: the table shows both.

example:
  %(prog)s runs/audio/model.pt --dataset path/to/sounds --amount 0.5 --scope global --epochs 3 --lr 2e-4
""",
    "recalibrate": """Batch-norm statistics averaged anew over 200 train clips as they are served, without augmentation.
Quick; after averaging or pruning weights, or for other media.

example:
  %(prog)s runs/audio/model.pt --dataset path/to/sounds
""",
    "distill": """Train a small network on the labels and on the checkpoint's answers to the same augmented input;
beside it the same network on the labels alone. --student is a preset of the small one, whose epochs, rate and input
hold. One of training.fit_audio is fitted in closed form to both: such a student knows no --temperature.
Several teachers (--teachers) make one network that has something of each: a student as large as they are, which starts
from one of them (--init).

example:
  %(prog)s weights/audio/model.safetensors --student audio-light --dataset path/to/sounds
  %(prog)s runs/audio/model.pt --student bands_cnn_gru_light --dataset path/to/sounds --epochs 20
  %(prog)s runs/video/model.pt --student video-light --dataset path/to/videos --backbone-weights lite0.pth
""",
}
FINE_TUNING = {"epochs": "3", "lr": "1e-4", "warmup_share": "0.1", "patience": "0"}  # weaker than the command line


def parser() -> argparse.ArgumentParser:
    """The options of every command."""
    main_parser = argparse.ArgumentParser(
        prog=PROG, description=__doc__, epilog=EPILOG, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    commands = main_parser.add_subparsers(dest="command", required=True, metavar="COMMAND")
    for name, text in EXAMPLES.items():
        sub = commands.add_parser(
            name,
            help=" ".join(text.split("example:")[0].split()).split(". ")[0],
            description=text,
            epilog=EPILOG,
            formatter_class=argparse.RawDescriptionHelpFormatter,
            allow_abbrev=False,
        )
        sub.add_argument("checkpoint", type=Path, metavar="CHECKPOINT")
        sub.add_argument("--dataset", type=Path, required=True, metavar="PATH", help="folder of labelled clips")
        sub.add_argument("--output", type=Path, metavar="DIR", help="made when missing")
        if name != "distill":
            sub.add_argument("--config", metavar="PRESET", help="how the network is trained on; default: as it was")
        sub.add_argument(
            "--repeats", type=int, default=comparison.N_REPEATS, metavar="N", help="passes timed (%(default)s)"
        )
        _own_options(name, sub)
    return main_parser


def _own_options(name: str, sub: argparse.ArgumentParser) -> None:
    if name == "qat":
        sub.add_argument(
            "--free-epochs",
            type=int,
            default=1,
            metavar="N",
            help="after which ranges and batch norm are frozen (default: %(default)s)",
        )
    elif name == "prune":
        sub.add_argument(
            "--amount", type=float, default=0.5, metavar="X", help="share of weights (default: %(default)s)"
        )
        sub.add_argument(
            "--scope",
            choices=("global", "layer"),
            default="global",
            help="compare all weights with each other, or those of a layer (default: %(default)s)",
        )
    elif name == "distill":
        sub.add_argument("--student", required=True, metavar="PRESET", help="that trains the small network")
        sub.add_argument(
            "--temperature", type=float, default=Distillation.temperature, metavar="X", help="(%(default)s)"
        )
        sub.add_argument(
            "--weight",
            type=float,
            default=Distillation.weight,
            metavar="X",
            help="of the teacher's part of the loss, 0 to 1 (%(default)s)",
        )
        sub.add_argument(
            "--teachers",
            type=Path,
            nargs="+",
            default=(),
            metavar="CHECKPOINT",
            help="further ones, for video: the mean of all logits teaches; none may want larger crops than the first",
        )
        sub.add_argument(
            "--from-teacher", action="store_true", help="start from the teacher's tensors of the same name and shape"
        )
        sub.add_argument("--no-alone", action="store_true", help="leave out the network that has no teacher")


def main(argv: Sequence[str] | None = None) -> Path:
    """Compress as the arguments say; returns the output folder."""
    whole = parser()
    options, training = whole.parse_known_args(argv)
    torch.set_num_threads(1)  # as in one worker of the server; see training.export
    try:
        run = _step(options)
        tuned = options.command in ("qat", "prune")
        defaults = [argument for item in FINE_TUNING.items() for argument in (f"--{item[0]}", item[1])] if tuned else []
        preset = options.student if options.command == "distill" else options.config
        never = ["--ema-decay", "0"] if options.command == "qat" else []  # an average of ranges would mean nothing
        work = open_session(options.checkpoint, options.dataset, [*defaults, *training, *never], preset, is_tuned=tuned)
        output = options.output or Path(f"runs/compress/{options.command}-{work.settings['network']}")
        output.mkdir(parents=True, exist_ok=True)
        entries = run(work, output)
    except ValueError as error:
        raise SystemExit(f"{PROG} {options.command}: {error}") from None
    rows = comparison.compare(entries, options.repeats)
    told = {
        "command": options.command,
        "checkpoint": str(options.checkpoint),
        "checkpoint_sha256": sha256_of(options.checkpoint),
        "network": work.network,
        "n_val_clips": len(work.val),
        "options": {name: value for name, value in vars(options).items() if name not in ("command", "checkpoint")},
        "training": training,
    }
    comparison.write(output / "comparison.json", rows, told)
    (output / "comparison.md").write_text(comparison.markdown(rows), encoding="utf-8")
    title = f"{options.command}: {work.network}, {len(work.val)} validation clips"
    console = Console()
    console.width = max(console.width, TABLE_WIDTH)  # metrics cut off would be of no use
    console.print(comparison.table(title, rows))
    print(f"{output}: {', '.join(sorted(path.name for path in output.iterdir() if path.is_file()))}")
    return output


def _step(options: argparse.Namespace) -> Callable[[CompressionSession, Path], list[Entry]]:
    """What a command does.

    Raises:
        ValueError: an option is out of its bounds.
    """
    if options.command == "qat":
        if options.free_epochs < 0:
            raise ValueError(f"free-epochs is {options.free_epochs}; it must not be negative")
        return lambda work, output: steps.quantization_aware(work, output, options.free_epochs)
    if options.command == "prune":
        return lambda work, output: steps.pruned(work, output, options.amount, options.scope)
    if options.command == "distill":
        how = Distillation(options.temperature, options.weight)
        return lambda work, output: steps.distilled(
            work,
            output,
            how,
            others=options.teachers,
            from_teacher=options.from_teacher,
            alone=not options.no_alone,
        )
    return {"dynamic": steps.dynamic, "static": steps.static, "recalibrate": steps.recalibrated}[options.command]


if __name__ == "__main__":
    command(main)
