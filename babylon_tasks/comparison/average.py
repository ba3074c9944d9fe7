"""A lower bound of the average difference of the last day, valid at all windows at once.

Where only two models can be served there is no examinee, and this is all that can be said: not of
a checkpoint, but of what served lately. The bound of each window has its own part of alpha, and
all of them together alpha: 6 / (pi n)^2 add up to 1.
"""

from __future__ import annotations

from math import inf, log, pi, sqrt

from msgspec import Struct

_KEPT = 1 - 1 / 24  # of a window's weight in the next one


class Average(Struct, frozen=True, forbid_unknown_fields=True):
    """Exponentially weighted sums of differences, margins, weights, and variances; how many."""

    total: float = 0.0
    margin: float = 0.0
    weight: float = 0.0
    variance: float = 0.0
    count: int = 0


def add(average: Average, difference: float, margin: float, variance: float, block: int) -> Average:
    """Take a difference in that stands for ``block`` windows."""
    kept = _KEPT**block
    return Average(
        kept * average.total + difference,
        kept * average.margin + margin,
        kept * average.weight + 1,
        kept**2 * average.variance + variance,
        average.count + 1,
    )


def margin(average: Average) -> float:
    """Compute the margin that the bound is compared with, averaged as the differences are."""
    return average.margin / average.weight if average.count else 0.0


def lower_bound(average: Average, alpha: float) -> float:
    """Compute what the average is above, with probability 1 - ``alpha`` at all windows."""
    if not average.count:
        return -inf
    penalty = log((pi * average.count) ** 2 / (6 * alpha))
    return (average.total - sqrt(2 * average.variance * penalty)) / average.weight
