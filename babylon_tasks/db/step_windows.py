"""What a training step does to its windows: take them, release them, close them.

All of it happens under the lineage's lease, inside the caller's transaction.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from msgspec import Struct
from psycopg.types.json import Jsonb

from babylon_tasks.db import events, lineage_windows
from babylon_tasks.db import windows as rows
from babylon_tasks.db.lineages import Lease, lock_lineage
from babylon_tasks.db.session import Connection
from babylon_tasks.db.sql import execute, fetch_all, fetch_pairs, fetch_value, fetch_values
from babylon_tasks.db.window_transitions import move
from babylon_tasks.event_kinds import EventKind
from babylon_tasks.reasons import ScoreAnewReason, WindowReason
from babylon_tasks.settings import Settings
from babylon_tasks.states import CLOSE, END, FREE, GIVE_UP, REOPEN, TAKE, WindowState


class InTraining(Struct, frozen=True):
    """A window of an unfinished step, with its number of runs."""

    window: str
    attempts: int


def lock_scored(connection: Connection, versions: Mapping[str, int], *, lineage: str) -> bool:
    """Lock windows; False if the lineage may not take one any more, or its rewards are newer."""
    locked = fetch_values(
        connection,
        "step_windows.lock",
        str,
        versions=Jsonb(dict(versions)),
        lineage=lineage,
        freed=ScoreAnewReason.FREED,
    )
    return len(locked) == len(versions)


def lock_rewarded(connection: Connection, versions: Mapping[str, int], *, lineage: str) -> bool:
    """Lock windows for a supervised step: scored ones, and those skipped for what GRPO needs.

    False if the lineage may not take one any more, or its rewards are newer.
    """
    locked = fetch_values(
        connection,
        "step_windows.lock_rewarded",
        str,
        versions=Jsonb(dict(versions)),
        lineage=lineage,
    )
    return len(locked) == len(versions)


def reopen(connection: Connection, window: str, *, lineage: str, actor: str) -> None:
    """Make a locked window scored for a lineage that had skipped it; others stay as they are."""
    execute(connection, "lineage_windows.reopen", window=window, lineage=lineage)
    if rows.get(connection, window).state is WindowState.SKIPPED:
        move(connection, window, REOPEN, WindowState.SCORED, actor=actor, lineage=lineage)


def take(connection: Connection, window: str, *, lineage: str, actor: str) -> None:
    """Move a locked window that the lineage may take into training."""
    together = lineage_windows.begin(connection, window, lineage)
    move(connection, window, TAKE, WindowState.TRAINING, actor=actor, together=together)


def count_attempts(
    connection: Connection, windows: Sequence[str], by: int, *, lineage: str
) -> None:
    """Add ``by`` runs to the windows of a lineage's step."""
    execute(connection, "step_windows.count_attempts", windows=list(windows), by=by)
    lineage_windows.count_attempts(connection, windows, by, lineage=lineage)


def in_training(
    connection: Connection, windows: Sequence[str], *, lineage: str
) -> list[InTraining]:
    """Lock those of a step's windows that are in training."""
    return fetch_all(
        connection,
        "step_windows.in_training",
        InTraining,
        windows=list(windows),
        lineage=lineage,
    )


def end(connection: Connection, window: str, *, lineage: str, step_id: int, actor: str) -> None:
    """End a window's part in a committed step: trained, or scored if something is left over.

    Raises IllegalTransition where the window is not in training.
    """
    left = left_over(connection, window, lineage)
    state = WindowState.SCORED if left else WindowState.TRAINED
    move(
        connection,
        window,
        END,
        state,
        together=lineage_windows.settle(connection, window, lineage, state, left_over=left),
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
    delay: float,
) -> None:
    """End a window's part in a failed step: scored again, or failed after the last attempt.

    ``delay``: seconds until its next one.
    """
    exhausted = row.attempts >= settings.max_attempts
    state = WindowState.FAILED if exhausted else WindowState.SCORED
    reason = _exhausted(row.attempts, why) if exhausted else None
    pause = None if exhausted else delay
    together = lineage_windows.settle(
        connection, row.window, lineage, state, reason=reason, delay=pause, tries_end=False
    )
    move(
        connection,
        row.window,
        FREE,
        state,
        together=together,
        actor=actor,
        reason=reason,
        delay=pause,
        lineage=lineage,
        step_id=step_id,
    )


def close(connection: Connection, lease: Lease, window: str, *, actor: str) -> str:
    """Close a window with nothing left for the lineage: trained if it has used it, else skipped.

    Other lineages may still take it. Returns the reason: the most common one among the
    trajectories that no step has used.
    """
    about = {"window": window, "lineage": lease.lineage}
    used = fetch_value(connection, "step_windows.was_used", bool, **about)
    cause = fetch_value(connection, "step_windows.commonest_cause", str, **about)
    reason = cause or WindowReason.NOTHING_TRAINABLE
    state = WindowState.TRAINED if used else WindowState.SKIPPED
    move(
        connection,
        window,
        CLOSE,
        state,
        together=lineage_windows.settle(connection, window, lease.lineage, state, reason=reason),
        actor=actor,
        reason=reason,
        lineage=lease.lineage,
    )
    execute(connection, "step_windows.nothing_left", window=window)
    return reason


def close_unawaited(connection: Connection, *, limit: int, actor: str) -> list[str]:
    """Close the windows that only lineages which have been silent for long could still take.

    Call it in a transaction.
    """
    found = lineage_windows.unawaited(connection, limit)
    for one in found:
        together = lineage_windows.for_all(connection, one.window, one.lineage)
        move(
            connection,
            one.window,
            GIVE_UP if together.state is WindowState.FAILED else CLOSE,
            together.state,
            together=together,
            actor=actor,
            reason=together.reason,
            detail={"because": "the lineages that have not ended it are silent"},
        )
    return [one.window for one in found]


def outdated(connection: Connection, hours: int, limit: int, *, lineage: str) -> dict[str, int]:
    """List what the lineage may take more than ``hours`` before the newest sealed window.

    With their reward versions.
    """
    return fetch_pairs(
        connection, "step_windows.outdated", str, int, hours=hours, limit=limit, lineage=lineage
    )


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
        lineage = lease.lineage
        lock_lineage(connection, lease)
        attempts = _counted(connection, window, lineage)
        if attempts is None:  # the lineage may not take it any more
            return
        if attempts >= settings.max_attempts:
            why = _exhausted(attempts, error)
            together = lineage_windows.settle(
                connection, window, lineage, WindowState.FAILED, reason=why, tries_end=False
            )
            move(
                connection,
                window,
                GIVE_UP,
                WindowState.FAILED,
                together=together,
                actor=actor,
                reason=why,
                lineage=lineage,
            )
            return
        postpone(connection, window, settings.retry_delay_seconds, lineage=lineage)
        detail = {"reason": error[:2000], "attempts": attempts}
        events.record(
            connection, EventKind.TRAINING_FAILED, actor=actor, window=window, detail=detail
        )


def postpone(connection: Connection, window: str, delay: float, *, lineage: str) -> None:
    """Let a scored window wait for the lineage's next attempt."""
    execute(connection, "step_windows.postpone", window=window, delay=delay)
    if lineage_windows.has_others(connection, lineage):
        lineage_windows.postpone(connection, window, delay, lineage=lineage)


def _counted(connection: Connection, window: str, lineage: str) -> int | None:
    about = {"window": window, "lineage": lineage}
    attempts = fetch_value(connection, "step_windows.count", int, **about)
    if attempts is None or lineage_windows.begin(connection, window, lineage) is None:
        return attempts
    return fetch_value(connection, "lineage_windows.attempts", int, **about)


def _exhausted(attempts: int, why: str) -> str:
    return f"training failed {attempts} times, last: {why[:1000]}"
