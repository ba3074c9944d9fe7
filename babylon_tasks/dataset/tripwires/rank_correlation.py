"""The rank correlation of two values inside groups, over all groups of a window.

Trajectories of one agent are no independent witnesses: who writes much and bets well by habit does
so in each of its trajectories. So the number of standard errors counts agents: their sums are as
likely to be positive as negative where nothing relates the two values.
"""

from __future__ import annotations

import math
from collections import defaultdict
from collections.abc import Sequence

from msgspec import Struct


class Correlation(Struct, frozen=True):
    """``coefficient`` in [-1, 1], and how many standard errors it is from 0."""

    coefficient: float
    errors: float
    trajectories: int
    agents: int


class RankCorrelation:
    """Collects groups; keeps a sum for each agent."""

    def __init__(self) -> None:
        self._products: defaultdict[str, float] = defaultdict(float)
        self._ones = self._others = 0.0
        self._count = 0

    def add(self, ones: Sequence[float], others: Sequence[float], agents: Sequence[str]) -> None:
        """Add a group; one in which either value does not differ says nothing."""
        if len(set(ones)) < 2 or len(set(others)) < 2:
            return
        self._count += len(ones)
        for one, other, agent in zip(_ranks(ones), _ranks(others), agents, strict=True):
            self._products[agent] += one * other
            self._ones += one * one
            self._others += other * other

    def result(self) -> Correlation | None:
        """Compute the correlation over all groups; None where no group says anything."""
        products = self._products.values()
        squares = math.fsum(product * product for product in products)
        if not squares:
            return None
        total = math.fsum(products)
        return Correlation(
            total / math.sqrt(self._ones * self._others),
            total / math.sqrt(squares),
            self._count,
            len(self._products),
        )


def _ranks(values: Sequence[float]) -> list[float]:
    """Rank values around 0, equal ones alike; the range is about one, whatever their number."""
    order = sorted(range(len(values)), key=values.__getitem__)
    ranks = [0.0] * len(values)
    first = 0
    while first < len(order):
        last = first
        while last + 1 < len(order) and values[order[last + 1]] == values[order[first]]:
            last += 1
        rank = ((first + last) - (len(values) - 1)) / (2 * len(values))
        for place in order[first : last + 1]:
            ranks[place] = rank
        first = last + 1
    return ranks
