"""Two versions of a model on the same files: how often they agree, how far apart they are, and what each takes."""

from __future__ import annotations

import math
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Any

from client.reply import Reply


@dataclass(frozen=True)
class Outcome:
    """What one version made of one file.

    Attributes:
        verdict: Real, Fake, or the code of the refusal or failure.
        p_fake: None where there was no judgement.
        failed: whether the call itself went wrong; a refusal of the file is no failure.
        cached: whether it came from a cache, which says nothing of the version's speed.
    """

    verdict: str
    p_fake: float | None
    latency_s: float
    failed: bool = False
    cached: bool = False

    @classmethod
    def of(cls, reply: Reply, latency_s: float) -> Outcome:
        if reply.error_code:
            return cls(reply.error_code, None, latency_s, failed=reply.status >= 500)
        body = reply.body
        return cls(body["prediction"], body["probabilities"]["fake"], latency_s, cached=body["cache"] == "hit")

    @classmethod
    def of_error(cls, error: Exception, latency_s: float) -> Outcome:
        return cls(type(error).__name__, None, latency_s, failed=True)


@dataclass(frozen=True)
class Pair:
    """One file, judged by both."""

    file: str
    old: Outcome
    new: Outcome

    @property
    def agrees(self) -> bool:
        return self.old.verdict == self.new.verdict and not self.new.failed

    @property
    def difference(self) -> float | None:
        """|p_fake(new) - p_fake(old)|; None where either has none."""
        if self.old.p_fake is None or self.new.p_fake is None:
            return None
        return abs(self.new.p_fake - self.old.p_fake)


@dataclass(frozen=True)
class Thresholds:
    """What a new version may at most do.

    Attributes:
        max_disagreement: share of pairs with another verdict, 0 to 1; a failure counts as one.
        max_slowdown: its median latency over that of the old version.
    """

    max_disagreement: float = 0.05
    max_slowdown: float = 1.5

    def __post_init__(self) -> None:
        if not 0 <= self.max_disagreement <= 1:
            raise ValueError(f"max_disagreement is {self.max_disagreement}; allowed: 0 to 1")
        if not self.max_slowdown > 0:
            raise ValueError(f"max_slowdown is {self.max_slowdown}; it must be above 0")


@dataclass(frozen=True)
class Comparison:
    """All pairs, and what they come to."""

    old_version: str
    new_version: str
    pairs: Sequence[Pair]

    @property
    def disagreements(self) -> list[Pair]:
        return [pair for pair in self.pairs if not pair.agrees]

    @property
    def agreement(self) -> float:
        """Share of pairs with the same verdict; NaN without pairs."""
        return 1 - len(self.disagreements) / len(self.pairs) if self.pairs else math.nan

    @property
    def differences(self) -> list[float]:
        return [pair.difference for pair in self.pairs if pair.difference is not None]

    def latency_s(self, arm: str, share: float) -> float:
        """Quantile of the latency of `old` or `new`, without failures and answers from a cache; NaN if none is left."""
        outcomes = [getattr(pair, arm) for pair in self.pairs]
        return quantile([each.latency_s for each in outcomes if not each.failed and not each.cached], share)

    @property
    def slowdown(self) -> float:
        """Median latency of the new version over that of the old."""
        return self.latency_s("new", 0.5) / self.latency_s("old", 0.5)

    def n_failed(self, arm: str) -> int:
        return sum(getattr(pair, arm).failed for pair in self.pairs)

    def n_cached(self, arm: str) -> int:
        return sum(getattr(pair, arm).cached for pair in self.pairs)

    def exceeded(self, allowed: Thresholds) -> list[str]:
        """Sentences on what went too far; none if the new version passes."""
        if not self.pairs:
            return ["nothing was compared"]
        found = []
        if (share := 1 - self.agreement) > allowed.max_disagreement:
            found.append(f"{share:.1%} of the verdicts differ; allowed: {allowed.max_disagreement:.1%}")
        if not self.slowdown <= allowed.max_slowdown:  # NaN, where nothing could be timed, is no pass
            found.append(f"{self.slowdown:.2f} times the latency; allowed: {allowed.max_slowdown:.2f}")
        return found

    def to_dict(self) -> dict[str, Any]:
        """For scripts; figures that could not be taken are null."""
        arms = {"old": self.old_version, "new": self.new_version}
        return {
            "n": len(self.pairs),
            "agreement": _number(self.agreement),
            "max_difference": max(self.differences, default=None),
            "mean_difference": _number(mean(self.differences)),
            "slowdown": _number(self.slowdown),
            **{
                arm: {
                    "version": version,
                    "n_failed": self.n_failed(arm),
                    "n_cached": self.n_cached(arm),
                    "p50_s": _number(self.latency_s(arm, 0.5)),
                    "p95_s": _number(self.latency_s(arm, 0.95)),
                }
                for arm, version in arms.items()
            },
            "disagreements": [
                {
                    "file": pair.file,
                    **{
                        arm: {"verdict": outcome.verdict, "p_fake": outcome.p_fake}
                        for arm, outcome in (("old", pair.old), ("new", pair.new))
                    },
                }
                for pair in self.disagreements
            ],
        }


def quantile(values: Iterable[float], share: float) -> float:
    """The smallest value that is not below this share of all (nearest rank); NaN without values."""
    ordered = sorted(values)
    return ordered[max(0, math.ceil(share * len(ordered)) - 1)] if ordered else math.nan


def mean(values: Sequence[float]) -> float:
    """The arithmetic mean; nan of nothing."""
    return sum(values) / len(values) if values else math.nan


def _number(value: float) -> float | None:
    return round(value, 6) if math.isfinite(value) else None
