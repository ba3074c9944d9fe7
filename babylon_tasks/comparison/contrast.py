"""The difference of two arms: over the strata of a window, and over the windows of a block."""

from __future__ import annotations

from collections.abc import Sequence

from msgspec import Struct

from babylon_tasks.arms import Arm
from babylon_tasks.comparison.observed import ArmResult, Stratum


class Contrast(Struct, frozen=True, forbid_unknown_fields=True):
    """An arm's mean less that of control; its variance is the agents' over ``size``."""

    difference: float
    size: float


def contrast(strata: Sequence[Stratum], arm: Arm, slope: float, min_arm: int) -> Contrast | None:
    """Compare an arm with control, stratum by stratum; None where one has too few agents.

    ``slope`` takes out what the agents' past predicts. Arms are drawn anew each window, so that
    is unbiased whatever the slope, as long as it comes from earlier windows.
    """
    ones = others = 0
    found: list[Contrast] = []
    for stratum in strata:
        one = _result(stratum, arm)
        other = stratum.control
        if one is None or not one.n or not other.n:
            continue
        ones += one.n
        others += other.n
        past = slope * (one.past_mean - other.past_mean)
        found.append(Contrast(one.mean - other.mean - past, 1 / (1 / one.n + 1 / other.n)))
    return combine(found) if min(ones, others) >= min_arm else None


def combine(contrasts: Sequence[Contrast]) -> Contrast:
    """Average by size. Means over arms would mix in how the arms' shares differ by stratum."""
    if len(contrasts) == 1:
        return contrasts[0]
    size = sum(one.size for one in contrasts)
    return Contrast(sum(one.difference * one.size for one in contrasts) / size, size)


def _result(stratum: Stratum, arm: Arm) -> ArmResult | None:
    return stratum.serving if arm is Arm.SERVING else stratum.examinee
