"""Reject rows that came to a window after it had been sealed and scored."""

from __future__ import annotations

from babylon_tasks.db import events
from babylon_tasks.db.session import Connection
from babylon_tasks.db.sql import execute, fetch_values
from babylon_tasks.event_kinds import EventKind
from babylon_tasks.settings import Settings

# Checked in one call: each costs a scan of its rows.
LATE_WINDOWS = 4  # of those scored within the lookback
OLDER_WINDOWS = 1  # of all before, in turn
_ROWS = 10_000  # rejected in one window by one call


def reject_late(connection: Connection, settings: Settings, *, limit: int, actor: str) -> int:
    """Reject trajectories that arrived too late as `late`; checks a few windows per call.

    ``limit`` bounds those scored within the lookback; of those before, one is checked in turn.
    """
    windows = fetch_values(
        connection,
        "late_rows.to_check",
        str,
        hours=settings.lookback_hours,
        again=settings.grace_seconds,
        limit=limit,
        older=OLDER_WINDOWS,
    )
    late = 0
    for window in windows:
        count = execute(connection, "late_rows.reject", window=window, limit=_ROWS)
        if count == _ROWS:
            execute(connection, "late_rows.check_again", window=window)
        if count:
            detail = {"trajectories": count}
            events.record(
                connection, EventKind.LATE_ARRIVALS, actor=actor, window=window, detail=detail
            )
            late += count
    return late
