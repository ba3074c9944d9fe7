"""Whether agents earn less than they did, as after a world has turned over. Pure.

What agents earn is known of each hour, held out or not, and no step has to be refused for it. (Mean
rewards do not say it: they are made comparable within an hour.) A drop is only the occasion to look
back: evaluations of the same answers decide.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from statistics import fmean, median

from msgspec import Struct

from babylon_tasks.registry.paired_difference import student

HOURS = 32  # that are looked at
LEAST_SCORED = 8  # trajectories of an hour that counts
_MOST_BEFORE, _LEAST_BEFORE = 8, 4
_LEAST_SINCE = 2
_LEAST = 0.05  # of ``profit_scale``
_CHANCE = 0.01  # of a drop somewhere in the hours where there is none
_LUCK = 10.0  # times the middle deviation: an hour that is further off is one agent's
_MOST = 10.0  # of ``profit_scale``, of an hour: more of it is one agent's windfall or ruin
_NOISE = 0.01  # between hours at least, though a few may have been the same by chance


class Drop(Struct, frozen=True):
    """Mean profits before a window and from it on, in Babylon's money."""

    since: str
    before: float
    after: float

    def __str__(self) -> str:
        return (
            f"an agent has earned {self.after:.2f} an hour since {self.since}, "
            f"{self.before:.2f} before"
        )


def find_drop(hours: Mapping[str, float], profit_scale: float) -> Drop | None:
    """Find the hour from which on agents have earned less, beyond doubt; None: they have not.

    ``hours``: mean profits by window, the oldest first. Of all hours the one with the
    largest two-sample t is taken (Student 1908; of that many, one is large by chance: Bonferroni);
    noise is that between hours, since agents share an hour's luck, but for one hour before
    that is very far off. What the newest two earn must be lower too.
    """
    splits = range(_LEAST_BEFORE, len(hours) - _LEAST_SINCE + 1)
    most, noise = _MOST * profit_scale, _NOISE * profit_scale
    windows, profits = list(hours), [max(-most, min(most, one)) for one in hours.values()]
    found: list[tuple[float, Drop]] = []
    for split in splits:
        before = _without_luck(profits[max(0, split - _MOST_BEFORE) : split], noise)
        after = profits[split:]
        drop = Drop(windows[split], fmean(before), fmean(after))
        lower = drop.before - max(drop.after, fmean(after[-_LEAST_SINCE:]))
        t, degrees = _t(before, after, noise), len(before) + len(after) - 2
        if lower > _LEAST * profit_scale and t > student(1 - _CHANCE / len(splits), degrees):
            found.append((t, drop))
    return max(found, key=lambda one: one[0])[1] if found else None


def _without_luck(profits: list[float], least: float) -> list[float]:
    """Replace the hour that is furthest off by the middle one if it is very far off."""
    middle = median(profits)
    far = [abs(one - middle) for one in profits]
    if len(profits) < _MOST_BEFORE or max(far) <= _LUCK * max(least, median(far)):
        return profits
    lucky = far.index(max(far))
    return [middle if place == lucky else one for place, one in enumerate(profits)]


def _t(before: Sequence[float], after: Sequence[float], least: float) -> float:
    n, m = len(before), len(after)
    squares = sum((x - fmean(one)) ** 2 for one in (before, after) for x in one)
    noise = max(least, math.sqrt(squares / (n + m - 2)))
    return (fmean(before) - fmean(after)) / (noise * math.sqrt(1 / n + 1 / m))
