"""What the report of a lineage's run shows: rows of the database in, curves and marks out. PURE.

Windows are the time of everything in it, since hours may be played or filled in long after they
were: a decision belongs to the newest window that the lineage had trained on when it was made.
"""

from __future__ import annotations

from bisect import bisect_right
from collections import Counter
from collections.abc import Callable, Sequence
from datetime import datetime
from enum import StrEnum
from math import ceil, sqrt
from statistics import fmean
from typing import TypeVar

from msgspec import Struct

from babylon_tasks.decisions import Decision
from babylon_tasks.run_records import RunCommit, RunDecision, RunRows, RunWindow

MOST_POINTS = 480  # of a curve: a screen shows no more
_MOST_REASONS = 5  # the others are one together
OTHERS = "others"


class Rewards(Struct, frozen=True):
    """The mean reward and its standard deviation among trajectories."""

    mean: float
    deviation: float


class RunPoint(Struct, frozen=True):
    """A window, or some in a row by the name of the first; ``rejected`` by reason."""

    window: str
    reward: Rewards | None
    right: float | None
    rejected: tuple[int, ...]


class HeldOutPoint(Struct, frozen=True):
    """What a checkpoint, the one that served and the base model came to."""

    window: str
    value: float | None
    serving: float | None
    base: float | None


class ScreenPoint(Struct, frozen=True):
    """Shares of a candidate's answers and of the other's, in a screen."""

    window: str
    valid: float | None
    valid_other: float | None
    right: float | None
    right_other: float | None


class RunMarkKind(StrEnum):
    """What a mark says; the picture has a line for each."""

    PROMOTED = "promoted"
    REFUSED = "refused"
    NOT_PROMOTED = "not promoted"
    ROLLED_BACK = "rolled back"
    COMPARED = "comparison"


class RunMark(Struct, frozen=True):
    """Something that changed what serves, or refused to; ``step`` is the checkpoint it is about.

    ``when``: of a decision, not of its window.
    """

    window: str
    kind: RunMarkKind
    step: int | None
    why: str
    when: datetime | None = None


class RunHistory(Struct, frozen=True, kw_only=True):
    """Curves of ``together`` windows a point, and marks in the order of windows.

    ``reasons`` names what each point was rejected for, ``rejected`` counts all of it.
    """

    windows: int
    left_out: int
    first: str
    last: str
    together: int
    points: list[RunPoint]
    reasons: tuple[str, ...]
    rejected: dict[str, int]
    held_out: list[HeldOutPoint]
    screens: list[ScreenPoint]
    marks: list[RunMark]


_Point = TypeVar("_Point")


def run_history(rows: RunRows) -> RunHistory | None:
    """Make the curves of a run; None where there is no window."""
    if not rows.windows:
        return None
    windows = rows.windows
    together = ceil(len(windows) / MOST_POINTS)
    first, last = windows[0].window, windows[-1].window
    counted = Counter[str]()
    for one in rows.rejections:
        counted[one.reason] += one.count
    reasons = _reasons(counted)
    by_window: dict[str, Counter[str]] = {}
    for one in rows.rejections:
        name = one.reason if one.reason in reasons else OTHERS
        by_window.setdefault(one.window, Counter())[name] += one.count
    placed = _Places(rows.commits)
    seen = [(placed.at(one.decided_at), one) for one in rows.decisions if one.value is not None]
    screened = [(placed.at(one.ended_at), one) for one in rows.screens]
    return RunHistory(
        windows=len(windows),
        left_out=rows.left_out,
        first=first,
        last=last,
        together=together,
        points=[
            _point(windows[at : at + together], by_window, reasons)
            for at in range(0, len(windows), together)
        ],
        reasons=reasons,
        rejected=dict(counted.most_common()),
        held_out=_thinned(
            [
                HeldOutPoint(window, one.value, one.serving_value, one.base_value)
                for window, one in seen
                if first <= window <= last
            ],
            _joined_values,
        ),
        screens=_thinned(
            [
                ScreenPoint(window, one.valid, one.valid_other, one.right, one.right_other)
                for window, one in screened
                if first <= window <= last
            ],
            _joined_screens,
        ),
        marks=_marks(rows, placed, first, last),
    )


class _Places:
    """Which window had been the newest one in training at a moment."""

    def __init__(self, commits: Sequence[RunCommit]) -> None:
        ordered = sorted(commits, key=lambda one: one.committed_at)
        self._moments = [one.committed_at for one in ordered]
        self._windows: list[str] = []
        newest = ""
        for one in ordered:
            newest = max(newest, one.window)
            self._windows.append(newest)

    def at(self, moment: datetime) -> str:
        """Return the window; empty before the first commit."""
        place = bisect_right(self._moments, moment)
        return self._windows[place - 1] if place else ""


def _marks(rows: RunRows, placed: _Places, first: str, last: str) -> list[RunMark]:
    marks = [
        RunMark(placed.at(one.decided_at), _kind(one), _about(one), one.reason, one.decided_at)
        for one in rows.decisions
    ]
    for conclusion in rows.conclusions:
        why = "; ".join(filter(None, (conclusion.why, conclusion.done)))
        text = f"{conclusion.conclusion}: {why}" if why else conclusion.conclusion
        marks.append(RunMark(conclusion.window, RunMarkKind.COMPARED, None, text))
    return sorted(
        (one for one in marks if first <= (one.window or first) <= last),
        key=lambda one: one.window,
    )


def _kind(decision: RunDecision) -> RunMarkKind:
    match decision.decision:
        case Decision.PROMOTE:
            return RunMarkKind.PROMOTED
        case Decision.ROLLBACK:
            return RunMarkKind.ROLLED_BACK
        case Decision.HOLD:
            return RunMarkKind.REFUSED if decision.refused else RunMarkKind.NOT_PROMOTED


def _about(decision: RunDecision) -> int:
    return decision.from_step if decision.decision is Decision.ROLLBACK else decision.to_step


def _reasons(counted: Counter[str]) -> tuple[str, ...]:
    """Name the most common reasons, and the others together."""
    common = [name for name, _ in counted.most_common(_MOST_REASONS)]
    return (*common, *([OTHERS] if len(counted) > len(common) else []))


def _point(
    windows: Sequence[RunWindow], by_window: dict[str, Counter[str]], reasons: Sequence[str]
) -> RunPoint:
    rejected = Counter[str]()
    for one in windows:
        rejected.update(by_window.get(one.window, {}))
    return RunPoint(
        windows[0].window,
        _rewards(windows),
        _mean([one.right_share for one in windows]),
        tuple(rejected[name] for name in reasons),
    )


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


def _thinned(points: Sequence[_Point], join: Callable[[Sequence[_Point]], _Point]) -> list[_Point]:
    together = max(1, ceil(len(points) / MOST_POINTS))
    return [join(points[at : at + together]) for at in range(0, len(points), together)]


def _joined_values(points: Sequence[HeldOutPoint]) -> HeldOutPoint:
    return HeldOutPoint(
        points[0].window,
        _mean([one.value for one in points]),
        _mean([one.serving for one in points]),
        _mean([one.base for one in points]),
    )


def _joined_screens(points: Sequence[ScreenPoint]) -> ScreenPoint:
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
