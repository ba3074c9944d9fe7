"""The rows of ``training.windows``, as they are read."""

from __future__ import annotations

from collections.abc import Iterable
from datetime import datetime

from msgspec import Struct

from babylon_tasks.db import unopened_windows
from babylon_tasks.db.session import Connection
from babylon_tasks.db.sql import fetch_all, fetch_one, fetch_pairs, fetch_value
from babylon_tasks.errors import WindowNotFound
from babylon_tasks.reasons import ScoreAnewReason
from babylon_tasks.states import WindowState
from babylon_tasks.windows import window_start


class Window(Struct, frozen=True):
    """A row of ``training.windows``.

    ``score_anew`` is why it is to be scored anew; ``waiting``: it waits for outcomes until
    ``waits_until``, and its ``reason``, if any, is a decision postponed until then; ``tripped``: a
    tripwire keeps it from training; ``due``: none of these, and its next attempt may begin.
    ``changes`` counts how often it was scored anew for changed rows. ``profit_mean`` (Babylon's
    money) and ``right_share`` (of the bets with an outcome) belong to the newest reward version.
    """

    window_id: str
    state: WindowState
    held_out: bool
    reason: str | None
    trajectories: int | None
    agents: int | None
    scored: int | None
    rejected: int | None
    reward_mean: float | None
    reward_std: float | None
    reward_version: int
    attempts: int
    training_attempts: int
    next_attempt_at: datetime | None
    enqueued_at: datetime | None
    opened_at: datetime
    sealed_at: datetime | None
    scored_at: datetime | None
    trained_at: datetime | None
    updated_at: datetime
    waits_until: datetime | None
    score_anew: str | None
    changes: int
    left_over: int
    profit_mean: float | None
    right_share: float | None
    waiting: bool
    tripped: bool
    due: bool

    @property
    def why_idle(self) -> str | None:
        """Why no work is done on it now, as a predicate of its name; None if it is due."""
        if self.due:
            return None
        if self.waiting:
            anew = "" if self.score_anew is None else ", then is scored anew"
            return f"waits for outcomes until {self.waits_until:%F %H:%M} UTC{anew}"
        if self.score_anew is not None:
            return f"is to be scored anew: {self.score_anew}"
        if self.reason is not None:  # a decision that the wait postponed
            return f"is to be scored anew: {ScoreAnewReason.WAIT_IS_OVER}"
        if self.tripped:
            return (
                f"is tripped and not trained on until `babylon-tasks tripwires accept "
                f"{self.window_id}`"
            )
        return f"waits for its next attempt at {self.next_attempt_at:%F %H:%M:%S} UTC"


def get(connection: Connection, window: str, *, lineage: str | None = None) -> Window:
    """Read one window as a lineage sees it, or all together; raises BadWindowId, WindowNotFound."""
    window_start(window)
    row = fetch_one(connection, "windows.get", Window, window=window, lineage=lineage)
    if row is None:
        unopened_windows.refuse(connection, window)
        raise not_found(window)
    return row


def not_found(window: str) -> WindowNotFound:
    """Return the error for a window that has no row."""
    return WindowNotFound(
        f"no window {window} in training.windows; `babylon-tasks windows list` lists them, "
        "`babylon-tasks windows backfill --since` opens older ones"
    )


def list_windows(
    connection: Connection,
    *,
    since: datetime | None = None,
    until: datetime | None = None,
    states: Iterable[WindowState] | None = None,
    min_agents: int = 0,
    limit: int = 1000,
    lineage: str | None = None,
) -> list[Window]:
    """List windows as a lineage sees them, or all together, newest first.

    They begin at ``since`` or later and before ``until``.
    """
    return fetch_all(
        connection,
        "windows.list",
        Window,
        limit=limit,
        lineage=lineage,
        **_asked_for(since, until, states, min_agents),
    )


def how_many(
    connection: Connection,
    *,
    since: datetime | None = None,
    until: datetime | None = None,
    states: Iterable[WindowState] | None = None,
    min_agents: int = 0,
    lineage: str | None = None,
) -> int:
    """Count the windows that ``list_windows`` would list without a limit."""
    asked_for = _asked_for(since, until, states, min_agents)
    return fetch_value(connection, "windows.how_many", int, lineage=lineage, **asked_for) or 0


def _asked_for(
    since: datetime | None,
    until: datetime | None,
    states: Iterable[WindowState] | None,
    min_agents: int,
) -> dict[str, object]:
    named = None if states is None else [str(state) for state in states]
    return {"since": since, "until": until, "states": named, "min_agents": min_agents}


def counts(connection: Connection, *, lineage: str | None = None) -> dict[str, int]:
    """Count windows by their state for a lineage, or for all together; also those without any."""
    by_state = fetch_pairs(connection, "windows.counts", WindowState, int, lineage=lineage)
    return {str(state): by_state.get(state, 0) for state in WindowState}


def earned(connection: Connection, lineage: str, *, newest: int, least: int) -> dict[str, float]:
    """Read the mean profits of the newest windows, the oldest first: of those with ``least`` scored
    trajectories and no outcome to wait for, opened since the lineage returned to a checkpoint."""
    return fetch_pairs(
        connection, "windows.earned", str, float, lineage=lineage, newest=newest, least=least
    )
