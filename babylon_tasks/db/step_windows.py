"""What a training step does to its windows: take them, give them back, close them.

All of it under the lineage's lease, inside the caller's transaction.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from babylon_tasks.db import events, windows
from babylon_tasks.db.lineages import Lease, lock_lineage
from babylon_tasks.db.session import Connection
from babylon_tasks.db.sql import queries
from babylon_tasks.event_kinds import EventKind
from babylon_tasks.reasons import WindowReason
from babylon_tasks.settings import Settings
from babylon_tasks.states import WindowState, check_window

# How often a window is scored anew because Babylon rewrote rows of it.
MAX_CHANGES = 3


def lock_scored(connection: Connection, versions: Mapping[str, int]) -> bool:
    """Lock windows; False where one is no longer scored, or has another reward version."""
    parameters = {"windows": list(versions), "versions": list(versions.values())}
    rows = connection.execute(queries("step_windows")["lock"], parameters).fetchall()
    return len(rows) == len(versions)


def take(connection: Connection, window: str) -> None:
    """Move a scored, locked window into training."""
    check_window(WindowState.SCORED, WindowState.TRAINING, window)
    connection.execute(queries("step_windows")["take"], {"window": window})


def count_attempt(connection: Connection, windows: Sequence[str], by: int) -> None:
    """Add ``by`` runs to the windows of a step."""
    parameters = {"windows": list(windows), "by": by}
    connection.execute(queries("step_windows")["count_attempt"], parameters)


def of_step(connection: Connection, windows: Sequence[str]) -> list[tuple[str, int]]:
    """Lock the windows that are in training; returns each with its number of runs."""
    parameters = {"windows": list(windows)}
    rows = connection.execute(queries("step_windows")["of_step"], parameters).fetchall()
    return [(row[0], row[1]) for row in rows]


def mark_changed(
    connection: Connection, window: str, rows: int, *, lineage: str, actor: str
) -> None:
    """Mark a window to be scored anew because ``rows`` of its rows have changed.

    Does nothing where it is marked already, or has been scored anew ``MAX_CHANGES`` times.
    """
    parameters = {"window": window, "why": "rows changed", "most": MAX_CHANGES}
    if not connection.execute(queries("step_windows")["rescore"], parameters).rowcount:
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


def end(connection: Connection, window: str, *, lineage: str, step_id: int, actor: str) -> None:
    """End a window's part in a committed step: trained, or scored if something is left over."""
    parameters = {"window": window, "lineage": lineage}
    row = connection.execute(queries("step_windows")["end"], parameters).fetchone()
    if row is None:  # not in training: whoever moved it has said why
        return
    state, left = WindowState(row[0]), row[1]
    check_window(WindowState.TRAINING, state, window)
    detail: dict[str, Any] = {"from": WindowState.TRAINING, "to": state}
    if left:
        detail["left_over"] = left
    events.record(
        connection,
        EventKind.TRAINED_IN_PART if left else EventKind.TRAINED,
        actor=actor,
        window=window,
        lineage=lineage,
        step_id=step_id,
        detail=detail,
    )


def close(connection: Connection, lease: Lease, window: str, *, actor: str) -> str:
    """Close a scored window with nothing left: trained if a step has used it, else skipped.

    Returns the reason: the commonest one among the trajectories that no step has used.
    """
    parameters = {"window": window, "lineage": lease.lineage}
    found = queries("step_windows")
    used = connection.execute(found["was_used"], parameters).fetchone()
    cause = connection.execute(found["commonest_cause"], parameters).fetchone()
    reason = str(cause[0]) if cause else WindowReason.NOTHING_TRAINABLE
    windows.move(
        connection,
        window,
        WindowState.SCORED,
        WindowState.TRAINED if used is not None else WindowState.SKIPPED,
        actor=actor,
        reason=reason,
        lineage=lease.lineage,
    )
    connection.execute(found["nothing_left"], {"window": window})
    return reason


def outdated(connection: Connection, hours: int, limit: int) -> list[tuple[str, int]]:
    """Scored windows more than ``hours`` before the newest sealed one: (window, version)."""
    parameters = {"hours": hours, "limit": limit}
    rows = connection.execute(queries("step_windows")["outdated"], parameters).fetchall()
    return [(row[0], row[1]) for row in rows]


def count_failure(
    connection: Connection,
    lease: Lease,
    window: str,
    error: str,
    settings: Settings,
    *,
    actor: str,
) -> None:
    """Count an attempt at a scored window on which the trainer failed before a step was planned.

    Raises StaleLease.
    """
    with connection.transaction():
        lock_lineage(connection, lease)
        _count_failure(connection, window, error, settings, actor)


def fail(
    connection: Connection, window: str, attempts: int, reason: str, settings: Settings, **of: Any
) -> bool:
    """End a window's part in a failed step: scored again, or failed after the last attempt."""
    spent = attempts >= settings.max_attempts
    windows.move(
        connection,
        window,
        WindowState.TRAINING,
        WindowState.FAILED if spent else WindowState.SCORED,
        kind=EventKind.FAILED if spent else EventKind.TRAINING_FAILED,
        reason=f"training failed {attempts} times, last: {reason[:1000]}" if spent else None,
        delay=None if spent else settings.retry_delay_seconds,
        **of,
    )
    return spent


def _count_failure(
    connection: Connection, window: str, error: str, settings: Settings, actor: str
) -> None:
    row = connection.execute(queries("step_windows")["count"], {"window": window}).fetchone()
    if row is None:
        return
    spent = row[0] >= settings.max_attempts
    if spent:
        windows.move(
            connection,
            window,
            WindowState.SCORED,
            WindowState.FAILED,
            actor=actor,
            reason=f"training failed {row[0]} times, last: {error[:1000]}",
        )
        return
    parameters = {"window": window, "delay": settings.retry_delay_seconds}
    connection.execute(queries("step_windows")["postpone"], parameters)
    detail = {"reason": error[:2000], "attempts": row[0]}
    events.record(connection, EventKind.TRAINING_FAILED, actor=actor, window=window, detail=detail)
