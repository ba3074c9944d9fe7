"""Standardise each component of a group's evidence against the group's other members. Pure.

The values of a small group say little about their own mean and spread: two members are one
standard deviation apart whatever they did. So both are drawn towards those of a reference, all
comparable members of the window, as if it were a few members more (Efron and Morris 1975).
"""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence
from statistics import fmean

from msgspec import Struct

from babylon_tasks.records import Evidence

BOUND = 2.0  # standard deviations; a larger distance counts as luck
_PRIOR = 4.0  # the reference counts as this many members


class Moments(Struct, frozen=True):
    """Mean and variance of one component."""

    mean: float
    variance: float


def moments(values: Sequence[float]) -> Moments:
    """Compute mean and variance of at least one value."""
    mean = fmean(values)
    return Moments(mean, fmean([(value - mean) ** 2 for value in values]))


class Usual:
    """The moments of each component over a window, computed once for all its groups."""

    def __init__(self, components: Mapping[str, Callable[[Evidence], float | None]]) -> None:
        self._components = components
        self._reference: Sequence[Evidence] | None = None
        self._found: dict[str, Moments | None] = {}

    def among(self, reference: Sequence[Evidence]) -> Mapping[str, Moments | None]:
        """Return the moments over those that have a component; None where none has it."""
        if reference is not self._reference:
            self._reference = reference
            for name, component in self._components.items():
                known = [value for one in reference if (value := component(one)) is not None]
                self._found[name] = moments(known) if known else None
        return self._found


def standings(
    values: Sequence[float], usual: Moments | None, resolution: float
) -> list[float] | None:
    """Compute bounded z-scores in [-BOUND, BOUND]; None where the values do not differ.

    ``resolution``, in the unit of the values, is the smallest spread that matters: the standard
    deviation is never taken to be smaller, so that float noise does not become a reward.
    """
    if not values or max(values) - min(values) < resolution:
        return None
    prior = usual or moments(values)
    mean = (math.fsum(values) + _PRIOR * prior.mean) / (len(values) + _PRIOR)
    spread = math.fsum((value - mean) ** 2 for value in values)
    spread += _PRIOR * (prior.variance + (prior.mean - mean) ** 2)
    deviation = max(math.sqrt(spread / (len(values) + _PRIOR)), resolution)
    return [max(-BOUND, min(BOUND, (value - mean) / deviation)) for value in values]


def as_reward(standing: float) -> float:
    """Map a standing to [0, 1]; the mean is 0.5."""
    return min(1.0, max(0.0, 0.5 + standing / (2 * BOUND)))


def rewards(
    values: Sequence[float | None], usual: Moments | None, resolution: float
) -> list[float | None]:
    """Reward members by one value alone; 0.5 where these do not differ, None without a value."""
    known = [value for value in values if value is not None]
    scores = iter(standings(known, usual, resolution) or [0.0] * len(known))
    return [None if value is None else as_reward(next(scores)) for value in values]
