"""The card that goes with published weights, written from what was measured."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence

from torch import nn

from model_defs.spec import LABELS
from training.data.prepared import PreparedClip
from training.evaluation.metrics import Estimate

FIGURES_START, FIGURES_END = "<!-- figures -->", "<!-- /figures -->"  # training.reporting.numbers writes between them

_TEMPLATE = (
    """# Model card: {network}

Tells real from synthetic {modality}; class 0 is real, class 1 is fake. {parameters:.1f} M parameters, stored as fp16.

## Metrics

Clip level; in brackets the 95 % interval of a bootstrap over source groups. No group has clips in two splits.
The checkpoint and the calibration were chosen on val; test was not used for any choice.

"""
    + FIGURES_START
    + "\n\n{metrics}\n\n"
    + FIGURES_END
    + """

## Differences between variants

{measured}

## Data

{data}

Published by: {sources}.

Licences, as their publishers state them: {licences}.

The footage is third-party, part of it for research only; none of it is redistributed with these weights.
Whoever deploys them should check that this fits the use, or train anew on data of their own.

## Intended use and limits

- A hint for reviewers, and a base to train on. Not evidence: at the error rates above,
  a verdict on one clip can be wrong in either direction.
- The training set is small, and {limits}
- Metrics on unseen generators are lower than on known ones, and new generators appear all the time. Strong compression,
  small faces or short and noisy speech lower them further.
- Neither skin tone, age, sex nor language was balanced, and errors by them were not measured.

## Input

{spec}
"""
)

_LIMITS = {
    "video": (
        "its fakes are face swaps and talking heads. The label is the picture's: what is forged outside of the face, "
        "or where no face is found, is not seen."
    ),
    "audio": (
        "its fakes are synthesis, conversion, vocoders and codecs, mostly in English. Edits that splice genuine speech "
        "are not covered, nor is music."
    ),
}


def model_card(
    meta: Mapping,
    net: nn.Module,
    clips: Mapping[str, Sequence[PreparedClip]],
    metrics: Mapping[str, Mapping[str, Mapping[str, Estimate]]],
    measured: Mapping,
) -> str:
    """Markdown text.

    Args:
        meta: record of the weights: network and spec.
        net: counted for its parameters.
        clips: the clips of each split that was opened.
        metrics: split -> variant -> name -> estimate.
        measured: what `training.export.measure_variants` returned.
    """
    everything = [item.clip for split in clips.values() for item in split]
    modality = meta["spec"]["modality"]
    return _TEMPLATE.format(
        network=meta["network"],
        modality=modality,
        parameters=sum(parameter.numel() for parameter in net.parameters()) / 1e6,
        metrics=_metrics_table(metrics),
        measured=_measured_table(measured),
        data=_data_table(clips),
        sources=_counted([clip.source for clip in everything]) or "not stated",
        licences=_counted([clip.licence for clip in everything], shown=25) or "not stated",
        limits=_LIMITS[modality],
        spec="\n".join(f"- `{name}`: {value}" for name, value in meta["spec"].items()),
    )


def _metrics_table(metrics: Mapping[str, Mapping[str, Mapping[str, Estimate]]]) -> str:
    rows = [
        [split, variant, *map(str, estimates.values())]
        for split, by_variant in metrics.items()
        for variant, estimates in by_variant.items()
    ]
    names = next(iter(next(iter(metrics.values())).values()))
    return table(["split", "variant", *(name.replace("_", " ") for name in names)], rows)


def _measured_table(measured: Mapping) -> str:
    variants = measured["variants"]
    # Speed is in measured.json, where `python -m training.export --measure` renews it for another machine.
    columns = [
        name for name in dict.fromkeys(name for row in variants.values() for name in row) if name != "forward_ms"
    ]
    rows = [[variant, *(_short(row.get(name)) for name in columns)] for variant, row in variants.items()]
    where = dict(measured["measured_on"])
    where |= where.pop("versions", {})
    note = ", ".join(f"{name.replace('_', ' ')} {value}" for name, value in where.items())
    return (
        table(["variant", *(name.replace("_", " ") for name in columns)], rows)
        + "\n\nDifferences of p_fake from fp32, on validation clips; agreement of verdicts at the threshold. "
        f"Measured on: {note}."
    )


def _data_table(clips: Mapping[str, Sequence[PreparedClip]]) -> str:
    rows = []
    for split, items in clips.items():
        counts = Counter(item.clip.label for item in items)
        groups = len({item.clip.group for item in items})
        systems = len({item.clip.system for item in items if item.clip.label == 1})
        rows.append([split, *(counts[label] for label in range(len(LABELS))), groups, systems])
    return table(["split", *LABELS, "groups", "generators"], rows)


def _counted(names: Sequence[str], shown: int = 60) -> str:
    counts = Counter(name for name in names if name)
    text = ", ".join(f"{name} ({count})" for name, count in counts.most_common(shown))
    left = len(counts) - shown
    return f"{text} and {left} more" if left > 0 else text


def _short(value: object) -> str:
    if isinstance(value, float):
        return f"{value:.3g}"
    return str(value) if value is not None else "-"


def table(header: Sequence[str], rows: Sequence[Sequence[object]]) -> str:
    """In Markdown."""
    lines = [header, ["---"] * len(header), *rows]
    return "\n".join("| " + " | ".join(str(cell) for cell in line) + " |" for line in lines)
