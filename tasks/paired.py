"""Paired differences: what one arm is worth beyond another on the same splits, and how sure that is."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from statistics import fmean, stdev

from scipy.stats import t as student


@dataclass(frozen=True)
class Paired:
    """The mean of differences with its 95% interval (Student's t); None where there is no second difference.

    Attributes:
        mean: Of the differences.
        low: Lower end of the interval.
        high: Upper end.
    """

    mean: float
    low: float | None
    high: float | None

    @property
    def sign(self) -> int:
        """1 or -1 if the interval says that the difference is above or below zero, else 0."""
        if self.low is None or self.high is None:
            return 0
        return (self.low > 0) - (self.high < 0)


def paired(differences: Sequence[float]) -> Paired:
    """Return the mean difference and its interval.

    Raises:
        ValueError: If there is none.
    """
    if not differences:
        raise ValueError("differences must be at least one (got none)")
    mean, count = fmean(differences), len(differences)
    if count < 2:
        return Paired(mean, None, None)
    half = float(student.ppf(0.975, count - 1)) * stdev(differences) / math.sqrt(count)
    return Paired(mean, mean - half, mean + half)
