"""What was decided, each at its window, and what served since."""

from __future__ import annotations

from bisect import bisect_right
from collections.abc import Sequence
from datetime import datetime

from babylon_tasks.decisions import Decision
from babylon_tasks.run_history.curves import RunMark, RunMarkKind, ServedFrom
from babylon_tasks.run_records import RunCommit, RunDecision, RunRows


class Places:
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


def marks_of(rows: RunRows, placed: Places, first: str, last: str) -> list[RunMark]:
    """List the marks of windows from the first to the last one."""
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


def served(decisions: Sequence[RunDecision], placed: Places) -> list[ServedFrom]:
    """List what has served; empty where nothing has been decided."""
    moved = [one for one in decisions if one.decision is not Decision.HOLD]
    first = [ServedFrom("", one.from_step, None) for one in (moved or decisions)[:1]]
    return first + [
        ServedFrom(placed.at(one.decided_at), one.to_step, one.decided_at) for one in moved
    ]
