"""When a run got worse and what was done then, in words. Pure.

The right bets of the windows before each moment are compared with those from it on. The deepest
fall is named if chance would hardly make one as deep anywhere in the run.
"""

from __future__ import annotations

from collections.abc import Sequence
from math import log, sqrt

from babylon_tasks.counted import counted
from babylon_tasks.run_history import RunHistory
from babylon_tasks.run_records import RunWindow

_SIDE = 8  # windows before and after
_FEWEST = 4
_DOUBT = 2  # standard errors, beyond what the largest of so many differences reaches by chance
_SMALLEST = 0.05  # of the bets: less is nothing to look for
_LISTED = 3  # decisions


def when_it_got_worse(history: RunHistory, windows: Sequence[RunWindow]) -> list[str]:
    """Name the window with the deepest fall, what served then, and what was decided after it."""
    known = [(one.window, one.right_share) for one in windows if one.right_share is not None]
    if len(known) < 2 * _FEWEST:
        few = f"too few windows with a known outcome, {len(known)}; {2 * _FEWEST} are needed"
        return [f"When did it get worse? Not known yet: {few}."]
    fall = _deepest([share for _, share in known])
    if fall is None:
        looked_at = counted(len(known), "window")
        return [f"When did it get worse? No fall of the right bets beyond doubt in {looked_at}."]
    at, before, after = fall
    window = known[at][0]
    return [
        f"When did it get worse? At {window}: right bets {after:.1%} from there on, {before:.1%} "
        f"before (up to {_SIDE} windows each).",
        f"{_served(history, window)}What was done: {_done(history, window)}",
    ]


def _deepest(shares: Sequence[float]) -> tuple[int, float, float] | None:
    """Find the place of the fall that stands out most, with the means before and after it."""
    looks = range(_FEWEST, len(shares) - _FEWEST + 1)
    if not looks:
        return None
    bound = _DOUBT + sqrt(2 * log(len(looks)))
    found: tuple[int, float, float] | None = None
    deepest = _SMALLEST
    for at in looks:
        before, error_before = _mean(shares[max(0, at - _SIDE) : at])
        after, error_after = _mean(shares[at : at + _SIDE])
        beyond = before - after > bound * sqrt(error_before + error_after)
        if beyond and before - after > deepest:
            found, deepest = (at, before, after), before - after
    return found


def _mean(values: Sequence[float]) -> tuple[float, float]:
    """Return a mean and its squared standard error."""
    mean = sum(values) / len(values)
    return mean, sum((one - mean) ** 2 for one in values) / (len(values) - 1) / len(values)


def _served(history: RunHistory, window: str) -> str:
    then = [one for one in history.served if one.window < window]
    if not then:
        return ""
    # What served first has no window: no decision put it there.
    return f"Step {then[-1].step} served then, since {then[-1].window or 'the beginning'}. "


def _done(history: RunHistory, window: str) -> str:
    marks = [one for one in history.marks if one.window >= window]
    if not marks:
        return "nothing has been decided since."
    listed = "; ".join(
        f"{one.kind} {one.why if one.step is None else f'step {one.step}'} at {one.window}"
        for one in marks[:_LISTED]
    )
    more = len(marks) - _LISTED
    if more <= 0:
        return f"{listed}."
    return f"{listed}; {more} more decision{' is' if more == 1 else 's are'} below."
