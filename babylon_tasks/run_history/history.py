"""A run's rows in, its curves and marks out."""

from __future__ import annotations

from collections import Counter
from math import ceil

from babylon_tasks.run_history.curves import OTHERS, HeldOutPoint, RunHistory, ScreenPoint
from babylon_tasks.run_history.marks import Places, marks_of, served
from babylon_tasks.run_history.points import (
    MOST_POINTS,
    backlog,
    common_reasons,
    joined_screens,
    joined_values,
    point,
    thinned,
)
from babylon_tasks.run_records import RunRows


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
    reasons = common_reasons(counted)
    by_window: dict[str, Counter[str]] = {}
    for one in rows.rejections:
        name = one.reason if one.reason in reasons else OTHERS
        by_window.setdefault(one.window, Counter())[name] += one.count
    placed = Places(rows.commits)
    backlogs = backlog(windows)
    seen = [(placed.at(one.decided_at), one) for one in rows.decisions if one.value is not None]
    screened = [(placed.at(one.ended_at), one) for one in rows.screens]
    return RunHistory(
        windows=len(windows),
        left_out=rows.left_out,
        first=first,
        last=last,
        together=together,
        points=[
            point(
                windows[at : at + together],
                by_window,
                reasons,
                backlogs[at : at + together],
            )
            for at in range(0, len(windows), together)
        ],
        reasons=reasons,
        rejected=dict(counted.most_common()),
        held_out=thinned(
            [
                HeldOutPoint(window, one.value, one.serving_value, one.base_value)
                for window, one in seen
                if first <= window <= last
            ],
            joined_values,
        ),
        screens=thinned(
            [
                ScreenPoint(window, one.valid, one.valid_other, one.right, one.right_other)
                for window, one in screened
                if first <= window <= last
            ],
            joined_screens,
        ),
        marks=marks_of(rows, placed, first, last),
        served=served(rows.decisions, placed),
    )
