"""Average the weights of several runs from one start: one network that errs less than each of them.

    python -m training.average runs/a/model.pt runs/b/model.pt --save-path runs/video/model.pt

After M. Wortsman et al., "Model soups" (ICML 2022), and with the start itself among them "Robust fine-tuning of
zero-shot models" (CVPR 2022). It holds for runs that went on from the same weights, not for networks that were
trained apart.
"""

from __future__ import annotations

import argparse
from collections.abc import Sequence
from pathlib import Path

import torch
from torch import Tensor

from model_defs.networks.weights import load_weights
from model_defs.spec import spec_from_dict, spec_to_dict
from training.loop import checkpoint
from training.loop.checkpoint import RunError


def average(paths: Sequence[Path]) -> dict:
    """The checkpoint record with the mean of the weights and batch-norm statistics, each file counting alike.

    Args:
        paths: checkpoints or weight files, at least two, of one network and input.

    Raises:
        RunError: there are fewer, or they are of different networks or inputs.
    """
    if len(paths) < 2:
        raise RunError("an average needs at least two checkpoints")
    loaded = [load_weights(path) for path in paths]
    kept = ("network", "spec", "labels")
    for _, record in loaded:  # one form for what JSON wrote and what torch did: it has tuples
        record["spec"], record["labels"] = spec_to_dict(spec_from_dict(record["spec"])), list(record["labels"])
    first = {name: loaded[0][1][name] for name in kept}
    for path, (_, record) in zip(paths, loaded, strict=True):
        for name in kept:
            if record[name] != first[name]:
                raise RunError(f"{path} has another {name} than {paths[0]}: {record[name]}, not {first[name]}")
    states = [net.state_dict() for net, _ in loaded]
    return {
        **first,
        "averaged": len(paths),
        "state": {name: _mean([state[name] for state in states]) for name in states[0]},
    }


def _mean(tensors: Sequence[Tensor]) -> Tensor:
    if not tensors[0].is_floating_point():  # how many batches a batch norm has seen
        return tensors[0].clone()
    return torch.stack([tensor.double() for tensor in tensors]).mean(0).to(tensors[0].dtype)


def main(argv: Sequence[str] | None = None) -> None:
    """The command line."""
    parser = argparse.ArgumentParser(
        prog="python -m training.average",
        description=__doc__,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument("checkpoints", type=Path, nargs="+", metavar="CHECKPOINT", help="of runs from one start")
    parser.add_argument("--save-path", type=Path, required=True, metavar="FILE", help="the averaged checkpoint")
    arguments = parser.parse_args(argv)
    try:
        averaged = average(arguments.checkpoints)
    except (OSError, ValueError) as error:
        parser.error(str(error))
    arguments.save_path.parent.mkdir(parents=True, exist_ok=True)
    checkpoint.write(averaged, arguments.save_path)


if __name__ == "__main__":
    main()
