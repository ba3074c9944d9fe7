"""What each lineage has done with a window, where a database has more than one.

``training.windows`` then says what a window is for all of them together: in training while a step
of any has it, scored while any live one may still take it. The only lineage of a database writes
no rows here, and ``training.windows`` is its own.
"""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime

from msgspec import Struct

from babylon_tasks.db.session import Connection
from babylon_tasks.db.sql import execute, fetch_all, fetch_one, fetch_value, fetch_values
from babylon_tasks.states import WindowState


class Together(Struct, frozen=True):
    """What a window is for all lineages together, and why."""

    state: WindowState
    reason: str | None


class Unawaited(Struct, frozen=True):
    """A window that every live lineage is done with; ``lineage`` was the last."""

    window: str
    lineage: str


class LineageWindow(Struct, frozen=True):
    """What a lineage has done with a window; ``scored``: it may still take it."""

    lineage: str
    state: WindowState
    reason: str | None
    training_attempts: int
    left_over: int
    trained_at: datetime | None


def has_others(connection: Connection, lineage: str) -> bool:
    """Check whether the database has another lineage than this one."""
    return bool(fetch_value(connection, "lineage_windows.has_others", bool, lineage=lineage))


def begin(connection: Connection, window: str, lineage: str) -> Together | None:
    """Count a run that begins; returns what the window becomes, None for the only lineage."""
    if not has_others(connection, lineage):
        return None
    execute(connection, "lineage_windows.begin", window=window, lineage=lineage)
    return Together(WindowState.TRAINING, None)


def settle(
    connection: Connection,
    window: str,
    lineage: str,
    state: WindowState,
    *,
    reason: str | None = None,
    left_over: int | None = None,
    delay: float | None = None,
    tries_end: bool = True,
) -> Together | None:
    """Note what a lineage's part has come to; returns what the window becomes for all together.

    Locks the window until the end of the transaction. Returns None, and writes nothing, for the
    only lineage. ``tries_end``: its runs with the window are no longer counted.
    """
    if not has_others(connection, lineage):
        return None
    about = {"window": window, "lineage": lineage}
    # Before anything is read: two lineages that end at once must see each other's end.
    execute(connection, "lineage_windows.lock_window", window=window)
    execute(
        connection,
        "lineage_windows.settle",
        **about,
        state=state,
        reason=reason,
        left_over=left_over,
        delay=delay,
        tries_end=tries_end,
    )
    return for_all(connection, window, lineage)


def for_all(connection: Connection, window: str, lineage: str) -> Together:
    """Read what a locked window is for all lineages together."""
    together = fetch_one(
        connection, "lineage_windows.for_all", Together, window=window, lineage=lineage
    )
    assert together is not None  # noqa: S101  # an aggregate always has a row
    return together


def count_attempts(
    connection: Connection, windows: Sequence[str], by: int, *, lineage: str
) -> None:
    """Add ``by`` runs to those of a lineage with some windows."""
    execute(
        connection,
        "lineage_windows.count_attempts",
        windows=list(windows),
        by=by,
        lineage=lineage,
    )


def postpone(connection: Connection, window: str, delay: float, *, lineage: str) -> None:
    """Let a window wait ``delay`` seconds for the lineage's next attempt."""
    execute(connection, "lineage_windows.postpone", window=window, delay=delay, lineage=lineage)


def retry(connection: Connection, window: str) -> list[str]:
    """Let the lineages that a window has failed for try it again; returns their names."""
    return fetch_values(connection, "lineage_windows.retry", str, window=window)


def unawaited(connection: Connection, limit: int) -> list[Unawaited]:
    """List and lock scored windows that only lineages silent for a week have not ended."""
    return fetch_all(connection, "lineage_windows.waits_for_no_one", Unawaited, limit=limit)


def of_window(connection: Connection, window: str) -> list[LineageWindow]:
    """Read what each lineage has done with a window; empty where there is one lineage only."""
    return fetch_all(connection, "lineage_windows.of_window", LineageWindow, window=window)
