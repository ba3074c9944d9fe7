"""Windows as the points of curves, at most as many as a screen shows."""

from __future__ import annotations

from bisect import bisect_left, bisect_right
from collections import Counter
from collections.abc import Callable, Sequence
from datetime import timedelta
from math import ceil, sqrt
from statistics import fmean
from typing import TypeVar

from babylon_tasks.run_history.curves import OTHERS, HeldOutPoint, Rewards, RunPoint, ScreenPoint
from babylon_tasks.run_records import RunWindow

MOST_POINTS = 480  # of a curve: a screen shows no more
MOST_REASONS = 5  # the others are one together
_Point = TypeVar("_Point")


def common_reasons(counted: Counter[str]) -> tuple[str, ...]:
    """Name the most common reasons, and the others together."""
    common = [name for name, _ in counted.most_common(MOST_REASONS)]
    return (*common, *([OTHERS] if len(counted) > len(common) else []))


def point(
    windows: Sequence[RunWindow],
    by_window: dict[str, Counter[str]],
    reasons: Sequence[str],
    backlogs: Sequence[int | None],
) -> RunPoint:
    """Make a point of some windows in a row."""
    rejected = Counter[str]()
    for one in windows:
        rejected.update(by_window.get(one.window, {}))
    return RunPoint(
        windows[0].window,
        _rewards(windows),
        _mean([one.right_share for one in windows]),
        tuple(rejected[name] for name in reasons),
        backlog=max((one for one in backlogs if one is not None), default=None),
        hours=max((age for age in map(_hours, windows) if age is not None), default=None),
    )


def backlog(windows: Sequence[RunWindow]) -> list[int | None]:
    """Count for each window those that were sealed and not done when it was sealed, itself too."""
    sealed = sorted(one.sealed_at for one in windows if one.sealed_at is not None)
    done = sorted(
        max(one.done_at, one.sealed_at)
        for one in windows
        if one.done_at is not None and one.sealed_at is not None
    )
    return [
        None
        if one.sealed_at is None
        else bisect_right(sealed, one.sealed_at) - bisect_left(done, one.sealed_at)
        for one in windows
    ]


def _hours(window: RunWindow) -> float | None:
    if window.sealed_at is None or window.done_at is None or window.done_at < window.sealed_at:
        return None  # sealed again since
    return (window.done_at - window.sealed_at) / timedelta(hours=1)


def _rewards(windows: Sequence[RunWindow]) -> Rewards | None:
    """Pool the rewards of some windows, each by its number of trajectories."""
    seen = [
        (one.scored or 1, one.reward_mean, one.reward_std or 0.0)
        for one in windows
        if one.reward_mean is not None
    ]
    if not seen:
        return None
    total = sum(count for count, _, _ in seen)
    mean = sum(count * value for count, value, _ in seen) / total
    variance = sum(count * (std**2 + (value - mean) ** 2) for count, value, std in seen) / total
    return Rewards(mean, sqrt(variance))


def thinned(points: Sequence[_Point], join: Callable[[Sequence[_Point]], _Point]) -> list[_Point]:
    """Join points in a row until a screen shows no more."""
    together = max(1, ceil(len(points) / MOST_POINTS))
    return [join(points[at : at + together]) for at in range(0, len(points), together)]


def joined_values(points: Sequence[HeldOutPoint]) -> HeldOutPoint:
    """Average evaluations."""
    return HeldOutPoint(
        points[0].window,
        _mean([one.value for one in points]),
        _mean([one.serving for one in points]),
        _mean([one.base for one in points]),
    )


def joined_screens(points: Sequence[ScreenPoint]) -> ScreenPoint:
    """Average screens."""
    return ScreenPoint(
        points[0].window,
        _mean([one.valid for one in points]),
        _mean([one.valid_other for one in points]),
        _mean([one.right for one in points]),
        _mean([one.right_other for one in points]),
    )


def _mean(found: Sequence[float | None]) -> float | None:
    seen = [one for one in found if one is not None]
    return fmean(seen) if seen else None
