"""From scores by the second to alarms: two one-sided CUSUM tests over log-likelihood ratios.

E. S. Page, "Continuous inspection schemes" (Biometrika 41, 1954). With exact and independent log-likelihood ratios the
mean time between false alarms is at least exp(threshold) steps: G. Lorden, "Procedures for reacting to a change in
distribution" (Annals of Mathematical Statistics 42, 1971). Neither holds of a detector's seconds, whose errors persist:
the bound sets the threshold, and what a stream really gives has to be measured.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Literal

LLR_CEILING = 2.0  # of one second: no single second may raise an alarm by itself
SECONDS_AN_HOUR = 3_600

Change = Literal["alarm", "all_clear"]


@dataclass(frozen=True)
class CusumConfig:
    """When an alarm is raised and taken back.

    Attributes:
        false_alarms_an_hour: that the bound allows on a stream of real seconds; the threshold follows from it.
        drift: taken off each second's ratio, so that an undecided detector raises nothing.
    """

    false_alarms_an_hour: float = 0.1
    drift: float = 0.25

    def __post_init__(self) -> None:
        if not 0 < self.false_alarms_an_hour <= SECONDS_AN_HOUR:
            raise ValueError(f"false_alarms_an_hour is {self.false_alarms_an_hour}; it must lie in 0 < x <= 3600")
        if self.drift < 0:
            raise ValueError(f"drift is {self.drift}; it must not be negative")

    @property
    def threshold(self) -> float:
        """Of the cumulated ratio."""
        return math.log(SECONDS_AN_HOUR / self.false_alarms_an_hour)


class Cusum:
    """Follows one stream; `update` is told each second's p_fake."""

    def __init__(self, config: CusumConfig = CusumConfig()) -> None:
        self.config = config
        self.is_alarmed = False
        self.level = 0.0  # of the test that is running: towards fake, or back to real while alarmed

    def update(self, p_fake: float) -> Change | None:
        """One second further; returns what changed with it.

        Args:
            p_fake: calibrated with equal priors, 0 to 1, so that its odds are the likelihood ratio.
        """
        p_fake = min(max(p_fake, 1e-6), 1 - 1e-6)
        llr = max(-LLR_CEILING, min(LLR_CEILING, math.log(p_fake / (1 - p_fake))))
        towards = -llr if self.is_alarmed else llr
        self.level = max(0.0, self.level + towards - self.config.drift)
        if self.level < self.config.threshold:
            return None
        self.is_alarmed, self.level = not self.is_alarmed, 0.0
        return "alarm" if self.is_alarmed else "all_clear"
