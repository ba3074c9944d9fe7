"""How a run goes, in words: what stands above the curves of its report."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Sequence
from statistics import fmean

from babylon_tasks.cli.steps import decision_in_short
from babylon_tasks.counted import counted
from babylon_tasks.db.reports import SystemState
from babylon_tasks.run_history import (
    HeldOutPoint,
    RunHistory,
    RunMark,
    RunMarkKind,
    RunPoint,
    ScreenPoint,
)

_LISTED = 3


def lines(system: SystemState, history: RunHistory) -> list[str]:
    """Describe a run, one thing a line."""
    found = [_span(history), _serving(system), _trend(history.points)]
    if history.held_out:
        found.append(_value(history.held_out[-1]))
    if history.screens:
        found.append(_screen(history.screens[-1]))
    if history.marks:
        kinds = Counter(one.kind.value for one in history.marks)
        found.append("decided: " + ", ".join(f"{n} {kind}" for kind, n in kinds.items()))
        found += _setbacks(history.marks)
    if history.rejected:
        counts = list(history.rejected.items())
        named = ", ".join(f"{n} {reason}" for reason, n in counts[:_LISTED])
        more = f" and {len(counts) - _LISTED} other reasons" if len(counts) > _LISTED else ""
        found.append(f"trajectories not used: {named}{more}")
    found.append(_backlog(system))
    if system.pause is not None:
        found.append(f"paused: {system.pause.text}")
    return found


def _setbacks(marks: Sequence[RunMark]) -> Iterator[str]:
    """Say when it last got worse, and what was done."""
    for kind in (RunMarkKind.ROLLED_BACK, RunMarkKind.REFUSED):
        newest = next((one for one in reversed(marks) if one.kind is kind), None)
        if newest is not None:
            at = newest.window or "no window yet"
            yield f"last {kind.value}: step {newest.step}, at {at}: {newest.why}"


def _span(history: RunHistory) -> str:
    left = f"; {history.left_out} older ones are left out" if history.left_out else ""
    return f"{counted(history.windows, 'window')} from {history.first} to {history.last}{left}"


def _serving(system: SystemState) -> str:
    if system.lineage is None:
        return "no worker has served or trained this lineage yet"
    found = f"step {system.lineage.serving_step} of {system.lineage.head_step} serves"
    decision = system.last_decision
    if decision is None:
        return f"{found}; nothing has been decided yet"
    return f"{found}; last decision: {decision_in_short(decision)}"


def _trend(points: Sequence[RunPoint]) -> str:
    """Compare the newest quarter of the points with the oldest one."""
    right = [one.right for one in points if one.right is not None]
    quarter = max(1, len(right) // 4)
    if len(right) < 2:  # a first and a last
        return "right bets: fewer than two windows with a known outcome"
    before, now = fmean(right[:quarter]), fmean(right[-quarter:])
    return f"right bets: {before:.0%} in the first quarter of these windows, {now:.0%} in the last"


def _value(newest: HeldOutPoint) -> str:
    values = (("new checkpoint", newest.value), ("what served", newest.serving),
              ("base model", newest.base))  # fmt: skip
    found = ", ".join(f"{name} {value:.3f}" for name, value in values if value is not None)
    return f"held-out value, newest decision: {found}"


def _screen(newest: ScreenPoint) -> str:
    shares = (
        ("valid", newest.valid, newest.valid_other),
        ("right", newest.right, newest.right_other),
    )
    found = "; ".join(
        f"{name} {new:.0%}" + ("" if other is None else f", compared with {other:.0%}")
        for name, new, other in shares
        if new is not None
    )
    return f"newest screen: {found or 'too few questions'}"


def _backlog(system: SystemState) -> str:
    states = ", ".join(f"{n} {state}" for state, n in system.windows.items() if n)
    if system.oldest_due is None:
        return f"windows: {states or 'none'}; none is due"
    due = system.oldest_due
    return f"windows: {states}; oldest due: {due.window}, {due.state} since {due.since:%F %T}"
