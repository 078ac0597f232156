"""From logits to a probability and a verdict."""

from __future__ import annotations

from dataclasses import asdict, dataclass

import numpy as np

DIGITS = 6  # of a probability in an answer; below this the order of float sums would show


@dataclass(frozen=True)
class Calibration:
    """Platt scaling of the margin between the two logits; the defaults leave softmax as it is.

    Attributes:
        temperature: divides the margin; above 1 makes probabilities milder.
        bias: is added to the scaled margin; above 0 makes "fake" likelier.
        threshold: p_fake from which the prediction is Fake.
    """

    temperature: float = 1.0
    bias: float = 0.0
    threshold: float = 0.5

    def __post_init__(self) -> None:
        if not self.temperature > 0:
            raise ValueError(f"calibration temperature is {self.temperature}; it must be above 0")
        if not 0 <= self.threshold <= 1:
            raise ValueError(f"calibration threshold is {self.threshold}; it must lie between 0 and 1")

    def p_fake(self, logits: np.ndarray) -> np.ndarray:
        """P(fake) of each row.

        Args:
            logits: shape (N, 2), class 0 real and class 1 fake.

        Returns:
            shape (N,), float64 between 0 and 1.
        """
        logits = np.asarray(logits, dtype=np.float64)
        margin = (logits[:, 1] - logits[:, 0]) / self.temperature + self.bias
        # tanh form of the logistic function: it cannot overflow.
        return 0.5 * (1.0 + np.tanh(0.5 * margin))

    def to_dict(self) -> dict[str, float]:
        return asdict(self)


def rounded(values: np.ndarray) -> list[float]:
    """The values (N,) as an answer shows them, without a zero below zero."""
    return [round(float(value), DIGITS) + 0.0 for value in values]
