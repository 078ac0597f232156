"""What a probability and a threshold are worth, by the validation figures that an archive carries.

Where a manifest has no curve, nothing is said: a figure of other weights would be worse than none.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from console.clip import Record

SPLITS = ("val", "test")
MODALITIES = ("video", "audio")


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
    """By split, the share of fakes among the clips that were scored about so: `{"split", "observed", "n_clips"}`.

    The bin of the reliability diagram whose mean P(fake) is nearest. Real and fake clips weigh alike in it.
    """
    rows = []
    for split in SPLITS:
        bins = curves.get(split, {}).get("reliability")
        if not bins or not bins["predicted"]:
            continue
        nearest = min(range(len(bins["predicted"])), key=lambda index: abs(bins["predicted"][index] - p_fake))
        observed, n_clips = bins["observed"][nearest], bins["counts"][nearest]
        rows.append({"split": split, "observed": observed, "n_clips": n_clips, "of": sum(bins["counts"])})
    return rows
