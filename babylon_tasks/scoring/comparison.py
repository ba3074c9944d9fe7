"""Where a member of a group stands among the others, by one component. Pure.

The values of a small group say little about their own mean and spread: two members are one
standard deviation apart whatever they did. So both are drawn towards those of a reference, all
comparable members of the window, as if it were a few members more (Efron and Morris 1975).
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from statistics import fmean

BOUND = 2.0  # standard deviations; beyond them a result is luck rather than merit
_PRIOR = 4.0  # members that the reference weighs as much as


def standings(
    values: Sequence[float], reference: Sequence[float], resolution: float
) -> list[float] | None:
    """Bounded z-scores, each in [-BOUND, BOUND]; None where the values do not differ.

    ``resolution``, in the unit of the values, is a spread that is not worth telling apart: the
    standard deviation is never taken to be smaller, so that the noise of a float stays noise.
    """
    if max(values) - min(values) < resolution:
        return None
    centre = fmean(reference)
    mean = (math.fsum(values) + _PRIOR * centre) / (len(values) + _PRIOR)
    spread = math.fsum((value - mean) ** 2 for value in values)
    spread += _PRIOR * fmean([(value - mean) ** 2 for value in reference])
    deviation = max(math.sqrt(spread / (len(values) + _PRIOR)), resolution)
    return [max(-BOUND, min(BOUND, (value - mean) / deviation)) for value in values]


def as_reward(standing: float) -> float:
    """A standing mapped onto [0, 1]; the mean is 0.5."""
    return min(1.0, max(0.0, 0.5 + standing / (2 * BOUND)))
