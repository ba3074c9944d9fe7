"""A sudden change of the rewards' distribution: another scorer's doing, another world, or a fault.

The distance is that of Kolmogorov and Smirnov, on bins. How far windows are apart anyway is
learned from those before: each of them against all others.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from itertools import accumulate

from babylon_tasks.dataset.tripwires.figures import WindowFigures
from babylon_tasks.tripwires import Trip, Tripwire

FEWEST = 8  # windows before; with fewer nobody knows what is usual
_TIMES = 2.0
_USUAL = 0.9  # of the windows before are at least as near as the usual distance
# Smirnov's bound at 1 in 10,000 for independent rewards; those of a group vary less.
_SMIRNOV = 2.23
_SOURCE = (
    f"{_TIMES:g} times the distance that {_USUAL:.0%} of the windows before stay within, and at "
    "least Smirnov's bound of 1 in 10,000 for this many trajectories"
)


def distribution(now: WindowFigures, history: Sequence[WindowFigures]) -> list[Trip]:
    """Trip where a window's rewards are further from those before than these from each other."""
    before = [one for one in history if one.scorer == now.scorer and one.trajectories]
    if len(before) < FEWEST or not now.trajectories:
        return []
    pool = _sum(before)
    apart = sorted(distance(one.bins, _without(pool, one)) for one in before)
    usual = apart[math.ceil(_USUAL * len(apart)) - 1]
    by_chance = _SMIRNOV * math.sqrt(1 / now.trajectories + 1 / sum(pool))
    bound = max(_TIMES * usual, by_chance)
    measured = distance(now.bins, pool)
    if measured < bound:
        return []
    return [
        Trip(
            Tripwire.DISTRIBUTION,
            f"rewards spread otherwise than in the {len(before)} windows before: distance "
            f"{measured:.2f}, usually {usual:.2f} at most",
            measured,
            bound,
            _SOURCE,
            {
                "distance": measured,
                "usual": usual,
                "by_chance": by_chance,
                "bins": list(now.bins),
                "bins_before": pool,
                "windows_before": len(before),
            },
        )
    ]


def distance(ones: Sequence[int], others: Sequence[int]) -> float:
    """Compute the largest difference of the two cumulated shares, in [0, 1]."""
    one, other = sum(ones), sum(others)
    pairs = zip(accumulate(ones), accumulate(others), strict=True)
    return max(abs(a / one - b / other) for a, b in pairs)


def _sum(figures: Sequence[WindowFigures]) -> list[int]:
    return [sum(counts) for counts in zip(*(one.bins for one in figures), strict=True)]


def _without(pool: Sequence[int], one: WindowFigures) -> list[int]:
    return [all_ - own for all_, own in zip(pool, one.bins, strict=True)]
