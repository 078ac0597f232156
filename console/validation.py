"""What a probability and a threshold are worth, by the validation figures that an archive carries.

Where a manifest has no curve, nothing is said: a figure of other weights would be worse than none.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from console.clip import Record

SPLITS = ("val", "test")
MIN_CLIPS = 20  # that a statement on a probability rests on, where there are as many


def curves_of(manifest: Mapping[str, Any]) -> dict[str, dict[str, Record]]:
    """What was judged -> split -> `{"operating_points", "reliability", "counts", "measures"}`, of the variants served.

    Keys are `video`, `audio` and, of an archive with both, `ensemble`.
    """
    found: dict[str, dict[str, Record]] = {}
    variants = manifest.get("worker", {}).get("variants", {})
    for modality, artifact in manifest.get("artifacts", {}).items():
        by_split = artifact.get("figures", {}).get("splits", {})
        variant = variants.get(modality, "fp32")
        found[modality] = {split: one[variant] for split, one in by_split.items() if variant in one}
    fused = manifest.get("figures", {}).get("splits", {})
    if len(found) > 1 and fused:
        found["ensemble"] = dict(fused)
    return found


def judged_by(answer: Mapping[str, Any]) -> str:
    """Which curve an answer belongs to: that of its one modality, or `ensemble`."""
    modalities = [name for name, part in answer.get("modalities", {}).items() if part.get("p_fake") is not None]
    return modalities[0] if len(modalities) == 1 else "ensemble"


def meaning(p_fake: float, curves: Mapping[str, Record]) -> list[Record]:
    """By split, the share of fakes among the clips that were scored about so, real and fake clips weighing alike.

    The bins of the reliability diagram around the score, as many as it takes for `MIN_CLIPS` clips of them.

    Returns:
        `{"split", "observed", "n_clips", "low", "high"}` of each; low and high are the mean P(fake) of the outer bins.
    """
    rows = []
    for split in SPLITS:
        curve = curves.get(split, {})
        bins, counts = curve.get("reliability"), curve.get("counts") or {}
        n_fake, n_real = counts.get("fake", 0), counts.get("clips", 0) - counts.get("fake", 0)
        if bins and bins["predicted"] and n_fake and n_real:
            rows.append({"split": split, **_pooled(p_fake, bins, n_fake, n_real)})
    return rows


def _pooled(p_fake: float, bins: Mapping[str, Sequence[float]], n_fake: int, n_real: int) -> Record:
    """The bins nearest to a score, put together."""
    by_distance = sorted(range(len(bins["predicted"])), key=lambda index: abs(bins["predicted"][index] - p_fake))
    chosen: list[int] = []
    while by_distance and sum(bins["counts"][index] for index in chosen) < MIN_CLIPS:
        chosen.append(by_distance.pop(0))
    fakes = sum(_n_fakes(bins["observed"][index], bins["counts"][index], n_fake / n_real) for index in chosen)
    n_clips = sum(int(bins["counts"][index]) for index in chosen)
    share_of_fakes, share_of_reals = fakes / n_fake, (n_clips - fakes) / n_real
    predicted = [bins["predicted"][index] for index in chosen]
    return {
        "observed": round(share_of_fakes / (share_of_fakes + share_of_reals), 4),
        "n_clips": n_clips,
        "low": min(predicted),
        "high": max(predicted),
    }


def _n_fakes(observed: float, n_clips: float, fakes_per_real: float) -> int:
    """How many fakes a bin has, of which `observed` tells the share as if both classes were as many."""
    if observed >= 1:
        return int(n_clips)
    ratio = observed / (1 - observed) * fakes_per_real
    return round(n_clips * ratio / (1 + ratio))
