"""Whether the model is better than yesterday, in words, with the error of what that rests on. Pure.

Yesterday are the 24 windows before the newest 24, or the older half of fewer windows.
"""

from __future__ import annotations

from collections.abc import Sequence
from math import sqrt
from statistics import fmean, variance

from msgspec import Struct

from babylon_tasks.counted import counted
from babylon_tasks.run_history import RunHistory
from babylon_tasks.run_records import PairedValues, RunWindow

_DAY = 24  # windows
_DOUBT = 2  # standard errors: chance reaches them once in twenty times


class DayDifference(Struct, frozen=True):
    """A mean difference with its standard error, and in words what it is of."""

    mean: float
    error: float
    words: str

    @property
    def sign(self) -> int:
        """Whether it is above or below 0 beyond doubt; 0 if it is neither."""
        return 0 if abs(self.mean) <= _DOUBT * self.error else (1 if self.mean > 0 else -1)


def day_of(windows: int) -> int:
    """Return how many windows are compared with as many before them."""
    return min(_DAY, windows // 2)


def served_before(history: RunHistory, windows: Sequence[RunWindow]) -> int | None:
    """Return what served before the newest day; None where nothing has been decided."""
    day = day_of(len(windows))
    if not day or not history.served:
        return None
    last = windows[-1 - day].window
    return [one.step for one in history.served if one.window <= last][-1]


def better_than_yesterday(
    history: RunHistory,
    windows: Sequence[RunWindow],
    before: int | None,
    pairs: PairedValues | None,
) -> list[str]:
    """Answer the question, then say what the answer rests on.

    ``pairs``: values of what serves, and of what served ``before`` the newest day.
    """
    day = day_of(len(windows))
    if not day:
        return ["Is it better than yesterday? There is a single window yet."]
    found = [_right(windows, day)]
    serving = history.served[-1].step if history.served else None
    if before is not None and before != serving and pairs is not None:
        found.append(_held_out(pairs, serving, before, day))
    known = [one for one in found if one is not None]
    lines = [f"Is it better than yesterday? {_answer(known)}", *(one.words for one in known)]
    if serving is not None and before == serving:
        lines.append(f"Step {serving} serves, as it did {counted(day, 'window')} ago.")
    elif before is not None and pairs is None:
        lines.append(
            f"Step {serving} serves, step {before} did {counted(day, 'window')} ago: they were "
            "never evaluated on the same held-out groups."
        )
    return lines


def _answer(found: Sequence[DayDifference]) -> str:
    if not found:
        return "Nobody can say: no outcome is known, and no checkpoint was evaluated."
    signs = {one.sign for one in found} - {0}
    if len(signs) > 1:
        return "The figures contradict each other."
    if not signs:
        return "No difference beyond doubt."
    return "Yes." if signs == {1} else "No, it is worse."


def _right(windows: Sequence[RunWindow], day: int) -> DayDifference | None:
    """Compare the share of right bets; the error is that of windows, whose markets differ."""
    newest, older = (
        [one.right_share for one in part if one.right_share is not None]
        for part in (windows[-day:], windows[-2 * day : -day])
    )
    if len(newest) < 2 or len(older) < 2:
        return None
    mean, error = fmean(newest) - fmean(older), sqrt(_squared(newest) + _squared(older))
    return DayDifference(
        mean,
        error,
        f"Right bets: {fmean(newest):.1%} in the newest {day} windows, {fmean(older):.1%} in the "
        f"{day} before: {100 * mean:+.1f} ± {100 * error:.1f} points.",
    )


def _held_out(
    pairs: PairedValues, serving: int | None, before: int, day: int
) -> DayDifference | None:
    differences = [now - then for now, then in zip(pairs.now, pairs.before, strict=True)]
    if len(differences) < 2:
        return None
    mean, error = fmean(differences), sqrt(_squared(differences))
    return DayDifference(
        mean,
        error,
        f"Step {serving} serves, step {before} did {counted(day, 'window')} ago: value "
        f"{mean:+.3f} ± {error:.3f} on the same {len(differences)} held-out groups.",
    )


def _squared(values: Sequence[float]) -> float:
    """Return the squared standard error of a mean."""
    return variance(values) / len(values)
