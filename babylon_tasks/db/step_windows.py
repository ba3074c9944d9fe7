"""What a training step does to its windows: take them, release them, close them.

All of it happens under the lineage's lease, inside the caller's transaction.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from msgspec import Struct
from psycopg.types.json import Jsonb

from babylon_tasks.db import events
from babylon_tasks.db.lineages import Lease, lock_lineage
from babylon_tasks.db.session import Connection
from babylon_tasks.db.sql import execute, fetch_all, fetch_pairs, fetch_value, fetch_values
from babylon_tasks.db.window_transitions import move
from babylon_tasks.event_kinds import EventKind
from babylon_tasks.reasons import WindowReason
from babylon_tasks.settings import Settings
from babylon_tasks.states import CLOSE, END, FREE, GIVE_UP, TAKE, WindowState


class InTraining(Struct, frozen=True):
    """A window of an unfinished step, with its number of runs."""

    window: str
    attempts: int


def lock_scored(connection: Connection, versions: Mapping[str, int]) -> bool:
    """Lock windows; False if one is no longer scored, or has another reward version."""
    locked = fetch_values(
        connection,
        "step_windows.lock",
        str,
        versions=Jsonb(dict(versions)),
    )
    return len(locked) == len(versions)


def take(connection: Connection, window: str, *, actor: str) -> None:
    """Move a scored, locked window into training."""
    move(connection, window, TAKE, WindowState.TRAINING, actor=actor)


def count_attempts(connection: Connection, windows: Sequence[str], by: int) -> None:
    """Add ``by`` runs to the windows of a step."""
    execute(connection, "step_windows.count_attempts", windows=list(windows), by=by)


def in_training(connection: Connection, windows: Sequence[str]) -> list[InTraining]:
    """Lock those of a step's windows that are in training."""
    return fetch_all(connection, "step_windows.in_training", InTraining, windows=list(windows))


def end(connection: Connection, window: str, *, lineage: str, step_id: int, actor: str) -> None:
    """End a window's part in a committed step: trained, or scored if something is left over.

    Raises IllegalTransition where the window is not in training.
    """
    left = left_over(connection, window, lineage)
    move(
        connection,
        window,
        END,
        WindowState.SCORED if left else WindowState.TRAINED,
        actor=actor,
        lineage=lineage,
        step_id=step_id,
        detail={"left_over": left} if left else None,
        left_over=left,
    )


def left_over(connection: Connection, window: str, lineage: str) -> int:
    """Count a window's scored trajectories that are neither used nor refused."""
    left = fetch_value(connection, "step_windows.left_over", int, window=window, lineage=lineage)
    return left or 0


def free(
    connection: Connection,
    row: InTraining,
    why: str,
    settings: Settings,
    *,
    lineage: str,
    step_id: int,
    actor: str,
) -> None:
    """End a window's part in a failed step: scored again, or failed after the last attempt."""
    exhausted = row.attempts >= settings.max_attempts
    move(
        connection,
        row.window,
        FREE,
        WindowState.FAILED if exhausted else WindowState.SCORED,
        actor=actor,
        reason=_exhausted(row.attempts, why) if exhausted else None,
        delay=None if exhausted else settings.retry_delay_seconds,
        lineage=lineage,
        step_id=step_id,
    )


def close(connection: Connection, lease: Lease, window: str, *, actor: str) -> str:
    """Close a scored window with nothing left: trained if a step has used it, else skipped.

    Returns the reason: the most common one among the trajectories that no step has used.
    """
    about = {"window": window, "lineage": lease.lineage}
    used = fetch_value(connection, "step_windows.was_used", bool, **about)
    cause = fetch_value(connection, "step_windows.commonest_cause", str, **about)
    reason = cause or WindowReason.NOTHING_TRAINABLE
    move(
        connection,
        window,
        CLOSE,
        WindowState.TRAINED if used else WindowState.SKIPPED,
        actor=actor,
        reason=reason,
        lineage=lease.lineage,
    )
    execute(connection, "step_windows.nothing_left", window=window)
    return reason


def outdated(connection: Connection, hours: int, limit: int) -> dict[str, int]:
    """List scored windows more than ``hours`` before the newest sealed one, with their version."""
    return fetch_pairs(connection, "step_windows.outdated", str, int, hours=hours, limit=limit)


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

    It waits for its next attempt, or fails after the last one. Raises StaleLease.
    """
    with connection.transaction():
        lock_lineage(connection, lease)
        attempts = fetch_value(connection, "step_windows.count", int, window=window)
        if attempts is None:  # it is no longer scored
            return
        if attempts >= settings.max_attempts:
            why = _exhausted(attempts, error)
            move(connection, window, GIVE_UP, WindowState.FAILED, actor=actor, reason=why)
            return
        delay = settings.retry_delay_seconds
        execute(connection, "step_windows.postpone", window=window, delay=delay)
        detail = {"reason": error[:2000], "attempts": attempts}
        events.record(
            connection, EventKind.TRAINING_FAILED, actor=actor, window=window, detail=detail
        )


def _exhausted(attempts: int, why: str) -> str:
    return f"training failed {attempts} times, last: {why[:1000]}"
