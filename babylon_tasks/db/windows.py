"""The rows of ``training.windows``: opened, sealed, moved by compare-and-set, listed."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from datetime import datetime
from typing import Any

from msgspec import Struct, structs

from babylon_tasks.db import events
from babylon_tasks.db.session import Connection
from babylon_tasks.db.sql import (
    Row,
    execute,
    fetch_all,
    fetch_one,
    fetch_pairs,
    fetch_value,
    fetch_values,
)
from babylon_tasks.errors import IllegalTransition, WindowNotFound
from babylon_tasks.event_kinds import EventKind
from babylon_tasks.settings import Settings
from babylon_tasks.states import (
    RETRY,
    SEAL,
    WindowState,
    WindowTransition,
    check_window,
    listed,
)
from babylon_tasks.windows import is_held_out, window_end, window_start


class Window(Struct, frozen=True):
    """A row of ``training.windows``.

    ``rescore`` is why it is to be scored anew; ``waiting``: it waits for outcomes until
    ``waits_until``, and its ``reason``, if any, is a decision postponed until then; ``due``:
    neither, and its next attempt may begin. ``changes`` counts how often it was scored anew for
    changed rows. ``profit_mean`` (Babylon's money) and ``right_share`` (of the bets with an
    outcome) belong to the newest reward version.
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
    rescore: str | None
    changes: int
    left_over: int
    profit_mean: float | None
    right_share: float | None
    waiting: bool
    due: bool

    @property
    def why_idle(self) -> str | None:
        """Why no work is done on it now, as a predicate of its name; None if it is due."""
        if self.due:
            return None
        if self.waiting:
            anew = "" if self.rescore is None else ", then is scored anew"
            return f"waits for outcomes until {self.waits_until:%F %H:%M} UTC{anew}"
        if self.rescore is not None:
            return f"is to be scored anew: {self.rescore}"
        if self.reason is not None:  # a decision that the wait postponed
            return "is to be scored anew: the wait for outcomes is over"
        return f"waits for its next attempt at {self.next_attempt_at:%F %H:%M:%S} UTC"


class ScoredWindow(Struct, frozen=True):
    """A window that waits for a step.

    ``attempts`` counts training runs that began with it and did not finish; ``changes`` as in
    ``Window``.
    """

    window: str
    reward_version: int
    attempts: int
    changes: int


class _Sealed(Struct, frozen=True):
    """What a window contains when it is sealed."""

    trajectories: int
    agents: int


class _Moved(Struct, frozen=True):
    window: str


def clock(connection: Connection) -> datetime:
    """Read Postgres's time: workers' clocks are never used."""
    moment = fetch_value(connection, "windows.clock", datetime)
    assert moment is not None  # noqa: S101  # a SELECT without FROM always has a row
    return moment


def seen(connection: Connection, since: str, limit: int) -> list[str]:
    """List window ids of Babylon's rows from ``since`` on, as recorded: some may be invalid."""
    start = window_start(since).replace(tzinfo=None)
    named = fetch_values(connection, "windows.seen", str, since=since, limit=limit)
    unnamed = fetch_values(connection, "windows.seen_without_id", str, since=start, limit=limit)
    return sorted({*named, *unnamed})


def open_windows(
    connection: Connection, windows: Sequence[str], settings: Settings, *, actor: str
) -> list[str]:
    """Insert windows that have no row; returns the new ones."""
    known = set(fetch_values(connection, "windows.known", str, windows=list(windows)))
    opened = []
    for window in windows:
        if window in known:
            continue
        held_out = is_held_out(window, settings.lineage, settings.held_out_share)
        if execute(
            connection,
            "windows.open",
            window_id=window,
            starts_at=window_start(window),
            held_out=held_out,
        ):
            detail = {"held_out": held_out}
            events.record(connection, EventKind.OPENED, actor=actor, window=window, detail=detail)
            opened.append(window)
    return opened


def seal_due(connection: Connection, settings: Settings, *, limit: int, actor: str) -> list[str]:
    """Seal the windows that are over and quiet, or have been open for too long."""
    due = fetch_pairs(
        connection,
        "windows.due_to_seal",
        str,
        bool,
        grace=settings.grace_seconds,
        max_open=settings.max_open_seconds,
        limit=limit,
    )
    sealed = []
    for window, overdue in due.items():
        if not (overdue or _is_quiet(connection, window, settings)):
            continue
        counted = change(connection, window, SEAL, WindowState.SEALED, _Sealed, **_span(window))
        if counted is None:  # another beat was faster
            continue
        detail = structs.asdict(counted) | {"overdue": overdue}
        events.record(connection, EventKind.SEALED, actor=actor, window=window, detail=detail)
        sealed.append(window)
    return sealed


def change(
    connection: Connection,
    window: str,
    transition: WindowTransition,
    target: WindowState,
    row: type[Row],
    **parameters: object,
) -> Row | None:
    """Compare and set, without the event; None if the window's state does not allow the change.

    Returns what the transition's statement returns. Raises IllegalTransition if the table has no
    such change.
    """
    check_window(transition, target, window)
    return fetch_one(
        connection,
        transition.statement,
        row,
        window=window,
        sources=[str(state) for state in transition.sources],
        target=target,
        **parameters,
    )


def move(
    connection: Connection,
    window: str,
    transition: WindowTransition,
    target: WindowState,
    *,
    actor: str,
    reason: str | None = None,
    delay: float | None = None,
    lineage: str | None = None,
    step_id: int | None = None,
    detail: Mapping[str, Any] | None = None,
    **parameters: object,
) -> None:
    """Compare and set, with the event that the table has for it, in the caller's transaction.

    ``delay``: seconds until the next attempt may begin; ``parameters`` are more of the
    transition's statement. Raises IllegalTransition if the table has no such change, or the
    window's state does not allow it: the transaction must then be rolled back.
    """
    parameters |= {"reason": reason, "delay": delay}
    moved = change(connection, window, transition, target, _Moved, **parameters)
    if moved is None:
        row = get(connection, window)
        raise IllegalTransition(
            f"window {window} is {row.state}; to {transition.name} it, it must be "
            f"{listed(transition.sources)}; nothing was written, see `babylon-tasks why {window}`"
        )
    kind = transition.targets[target]
    if kind is None:
        return
    events.record(
        connection,
        kind,
        actor=actor,
        window=window,
        lineage=lineage,
        step_id=step_id,
        detail={
            "from": " or ".join(sorted(transition.sources)),
            "to": target,
            **({} if reason is None else {"reason": reason}),
            **(detail or {}),
        },
    )


def get(connection: Connection, window: str) -> Window:
    """Read one window; raises BadWindowId, WindowNotFound."""
    window_start(window)
    row = fetch_one(connection, "windows.get", Window, window=window)
    if row is None:
        raise WindowNotFound(
            f"no window {window} in training.windows; `babylon-tasks windows list` lists them, "
            "`babylon-tasks windows backfill --since` opens older ones"
        )
    return row


def list_windows(
    connection: Connection,
    *,
    since: datetime | None = None,
    states: Iterable[WindowState] | None = None,
    min_agents: int = 0,
    limit: int = 1000,
) -> list[Window]:
    """List windows, newest first."""
    return fetch_all(
        connection,
        "windows.list",
        Window,
        since=since,
        states=None if states is None else [str(state) for state in states],
        min_agents=min_agents,
        limit=limit,
    )


def counts(connection: Connection) -> dict[str, int]:
    """Count windows by state; states without any are 0."""
    by_state = fetch_pairs(connection, "windows.counts", WindowState, int)
    return {str(state): by_state.get(state, 0) for state in WindowState}


def scored(connection: Connection, limit: int, *, first: str | None = None) -> list[ScoredWindow]:
    """List windows waiting for training, in the order in which steps take them, ``first`` first."""
    return fetch_all(connection, "windows.scored", ScoredWindow, limit=limit, first=first)


def claim_to_score(connection: Connection, settings: Settings, *, limit: int) -> list[str]:
    """List windows that need a scoring message, marked as sent: no two beats get the same."""
    return _claim(connection, "windows.claim_to_score", settings, limit)


def claim_to_train(connection: Connection, settings: Settings, *, limit: int) -> list[str]:
    """Do the same for training: scored windows, and steps whose worker is gone."""
    recover = _claim(connection, "windows.claim_to_recover", settings, limit)
    return recover or _claim(connection, "windows.claim_to_train", settings, limit)


def mark_enqueued(connection: Connection, windows: Sequence[str]) -> None:
    """Note that a message was sent for these windows."""
    execute(connection, "windows.mark_enqueued", windows=list(windows))


def retry(connection: Connection, window: str, *, actor: str) -> WindowState:
    """Return a failed window to where it failed, attempts reset; returns its new state.

    Raises WindowNotFound, IllegalTransition.
    """
    with connection.transaction():
        row = get(connection, window)
        # If sealed after its last scoring, it failed while being scored anew.
        scored = row.scored_at is not None and (
            row.sealed_at is None or row.sealed_at <= row.scored_at
        )
        target = WindowState.SCORED if scored else WindowState.SEALED
        move(connection, window, RETRY, target, actor=actor, detail={"was": row.reason})
    return target


def _claim(connection: Connection, name: str, settings: Settings, limit: int) -> list[str]:
    claimed = fetch_values(
        connection,
        name,
        str,
        lineage=settings.lineage,
        # A little less than beat's interval, or every second round would come too early.
        again=settings.upkeep_interval_seconds * 0.9,
        limit=limit,
    )
    return sorted(claimed)


def _is_quiet(connection: Connection, window: str, settings: Settings) -> bool:
    span, grace = _span(window), settings.grace_seconds
    return bool(
        fetch_value(connection, "windows.is_quiet", bool, window=window, grace=grace, **span)
    )


def _span(window: str) -> dict[str, Any]:
    # Babylon's columns have no time zone and mean UTC.
    return {
        "start": window_start(window).replace(tzinfo=None),
        "end": window_end(window).replace(tzinfo=None),
    }
