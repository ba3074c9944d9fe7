"""Delete rows of windows for which nothing is left to do, and keep what they say in numbers.

A trajectory is used once because of its row in ``training.consumption``. That row goes only where
planning refuses the trajectory for another reason, whatever Babylon does to its window id:
it began in an hour whose rows are pruned (``db/consumption.py``, ``began_in_pruned``). Of a
trajectory that Babylon has deleted it stays: nobody knows when that began, should it be restored.
"""

from __future__ import annotations

from datetime import timedelta

from msgspec import Struct

from babylon_tasks.db import clock, events
from babylon_tasks.db.session import Connection
from babylon_tasks.db.sql import execute, fetch_value, fetch_values
from babylon_tasks.errors import BadWindowId
from babylon_tasks.event_kinds import EventKind
from babylon_tasks.windows import window_id, window_start

# The newest held-out windows that evaluation may read.
HELD_OUT_WINDOWS = 200
_OUTCOMES = 50_000  # deleted by one call
_FIGURES = 100  # newest of each lineage that tripwires may compare with


class DeletedRows(Struct, frozen=True):
    """How many rows of a window were deleted, by table, and manifests shortened."""

    scores: int
    rejections: int
    uses: int
    bets: int
    manifests: int


def ended(connection: Connection, kept_hours: float, *, limit: int) -> list[str]:
    """List windows whose rows nothing needs any more, the oldest first."""
    return fetch_values(connection, "old_rows.list", str, **_terms(kept_hours), limit=limit)


def prune(
    connection: Connection, window: str, kept_hours: float, *, actor: str
) -> DeletedRows | None:
    """Delete the rows of an ended window, all or none of them; None if it has not ended."""
    with connection.transaction():
        if not fetch_value(connection, "old_rows.lock", str, window=window, **_terms(kept_hours)):
            return None
        execute(connection, "old_rows.count", window=window)
        execute(connection, "old_rows.write_details", window=window)
        # The scores of uses that stay, stay as well, unless Babylon has deleted the row.
        uses = execute(connection, "old_rows.delete_uses", window=window)
        deleted = DeletedRows(
            uses=uses,
            scores=execute(connection, "old_rows.delete_scores", window=window),
            rejections=execute(connection, "old_rows.delete_rejections", window=window),
            bets=execute(connection, "old_rows.delete_bets", window=window),
            manifests=execute(connection, "old_rows.shorten_manifests", window=window),
        )
        execute(connection, "tripwires.delete_figures", window=window, kept=_FIGURES)
        detail = {"scores": deleted.scores, "rejections": deleted.rejections, "uses": uses}
        events.record(connection, EventKind.ROWS_PRUNED, actor=actor, window=window, detail=detail)
    return deleted


def prune_outcomes(connection: Connection, kept_hours: float) -> int:
    """Delete outcomes older than any window that may need them, and than what is copied again."""
    newest = fetch_value(
        connection, "outcomes.newest", str, now=window_id(clock.of_hours(connection))
    )
    if newest is None:
        return 0
    try:
        before = window_id(window_start(newest) - timedelta(hours=kept_hours, days=1))
    except (BadWindowId, OverflowError):  # malformed: there is no hour to count from
        return 0
    oldest = fetch_value(connection, "old_rows.oldest_not_pruned", str)
    before = before if oldest is None else min(before, oldest)
    return execute(connection, "old_rows.delete_outcomes", before=before, limit=_OUTCOMES)


def _terms(kept_hours: float) -> dict[str, object]:
    return {"kept": kept_hours * 3600, "held_out": HELD_OUT_WINDOWS}
