"""Mark windows whose rows Babylon has rewritten since they were scored."""

from __future__ import annotations

from babylon_tasks.db import events
from babylon_tasks.db.session import Connection
from babylon_tasks.db.sql import execute
from babylon_tasks.event_kinds import EventKind
from babylon_tasks.reasons import ScoreAnewReason

# How often a window is scored anew because Babylon rewrote rows of it.
MAX_CHANGES = 3


def mark_changed(
    connection: Connection, window: str, rows: int, *, lineage: str, actor: str
) -> None:
    """Mark a window to be scored anew because ``rows`` of its rows have changed.

    Does nothing if it is marked already, has been scored anew ``MAX_CHANGES`` times, or is trained:
    no scoring would ever take the mark away, which keeps rows from being pruned.
    """
    if not execute(
        connection,
        "changed_rows.mark",
        window=window,
        why=ScoreAnewReason.ROWS_CHANGED,
        most=MAX_CHANGES,
    ):
        return
    detail = {"trajectories": rows, "why": "Babylon has rewritten them since they were scored"}
    events.record(
        connection,
        EventKind.ROWS_CHANGED,
        actor=actor,
        window=window,
        lineage=lineage,
        detail=detail,
    )
