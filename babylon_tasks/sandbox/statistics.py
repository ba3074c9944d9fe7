"""The figures that the demo reports of its answers; pure."""

from __future__ import annotations

import math
from collections.abc import Sequence
from statistics import fmean, stdev

# Two-sided 95 % point of the normal distribution: with 100 markets Student's is within 1.3 %.
_Z95 = 1.959964
# One window of 128 answers can reach a share by luck, or miss it.
AVERAGED_WINDOWS = 3


def difference_interval(base: Sequence[float], served: Sequence[float]) -> tuple[float, float]:
    """Compute the 95 % interval of the mean of ``served - base``, paired by market.

    Each value is one market's share of right answers, so the several answers to one market count
    as one observation: they are not independent of each other.
    """
    differences = [after - before for before, after in zip(base, served, strict=True)]
    error = _Z95 * stdev(differences) / math.sqrt(len(differences))
    middle = fmean(differences)
    return middle - error, middle + error


def windows_until(right: Sequence[float], bar: float) -> int | None:
    """Count the windows until the mean share of the last three reaches the bar; None: never."""
    for played in range(AVERAGED_WINDOWS, len(right) + 1):
        if fmean(right[played - AVERAGED_WINDOWS : played]) >= bar:
            return played
    return None
