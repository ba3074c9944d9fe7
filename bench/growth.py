"""How a cost grows with what it is paid for: the exponent over several sizes. PURE."""

from __future__ import annotations

import math
from collections.abc import Sequence
from statistics import fmean

SIZES = 3  # two points lie on a line whatever they are


def exponent(sizes: Sequence[float], costs: Sequence[float]) -> float:
    """Fit cost = a · size^b by least squares over the logarithms; returns b.

    0: the cost does not depend on the size, 1: it doubles with it, 2: it grows fourfold. Raises
    ValueError for fewer sizes than can show it, and for what has no logarithm.
    """
    if len(set(sizes)) < SIZES:
        raise ValueError(f"{len(set(sizes))} different sizes show no growth; it takes {SIZES}")
    if min(*sizes, *costs) <= 0:
        raise ValueError(f"sizes {list(sizes)} and costs {list(costs)} must be above 0")
    x, y = list(map(math.log, sizes)), list(map(math.log, costs))
    middle, height = fmean(x), fmean(y)
    rise = sum((one - middle) * (cost - height) for one, cost in zip(x, y, strict=True))
    return rise / sum((one - middle) ** 2 for one in x)


def curve(what: str, sizes: Sequence[float], costs: Sequence[float], unit: str = "") -> str:
    """Write a cost at each size, the last as a multiple of the first, and the exponent."""
    points = ", ".join(
        f"{size:,.0f}: {cost:.4g}{unit}" for size, cost in zip(sizes, costs, strict=True)
    )
    return (
        f"  {what}: {points}; last / first {costs[-1] / costs[0]:.2f}, "
        f"exponent {exponent(sizes, costs):+.2f}"
    )
