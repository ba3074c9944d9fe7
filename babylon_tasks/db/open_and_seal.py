"""Open the windows of Babylon's rows, and seal those that are over and quiet."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime
from typing import Any

from msgspec import Struct, structs

from babylon_tasks.db import events, refusals, unopened_windows
from babylon_tasks.db.session import Connection
from babylon_tasks.db.sql import execute, fetch_pairs, fetch_value, fetch_values
from babylon_tasks.db.window_transitions import change
from babylon_tasks.event_kinds import EventKind
from babylon_tasks.held_out_hours import RefusedRow, current_row, why_out_of_turn
from babylon_tasks.settings import Settings
from babylon_tasks.states import SEAL, WindowState
from babylon_tasks.windows import is_held_out, window_end, window_start


class _Sealed(Struct, frozen=True):
    """What a window contains when it is sealed."""

    trajectories: int
    agents: int


class SeenIds(Struct, frozen=True):
    """Window ids of Babylon's rows that have no window.

    ``named`` are hours; ``unnamed``, of rows that name none, may be of any time, or malformed.
    ``all_seen`` is False where there are more than the limit.
    """

    named: list[str]
    unnamed: list[str]
    all_seen: bool


def seen(connection: Connection, since: str, until: str, limit: int) -> SeenIds:
    """List what has no window: hours from ``since`` to ``until``, and of unnamed rows any.

    Unnamed ones are left out where it is on record why they have none, which still applies.
    """
    asked = {"since": since, "until": until, "limit": limit}
    named = fetch_values(connection, "open_and_seal.seen", str, **asked)
    unnamed = fetch_values(connection, "open_and_seal.seen_without_id", str, **asked)
    return SeenIds(named, unnamed, all_seen=len(named) < limit and len(unnamed) < limit)


def open_windows(
    connection: Connection, windows: Sequence[str], settings: Settings, *, actor: str
) -> list[str]:
    """Insert windows that have no row; returns the new ones. Whether each is held out is decided
    here, before any of its rows is read, and for good."""
    known = set(fetch_values(connection, "open_and_seal.known", str, windows=list(windows)))
    opened = []
    for window in windows:
        if window in known:
            continue
        why = _why_held_out(connection, window, settings)
        if execute(
            connection,
            "open_and_seal.open",
            window_id=window,
            starts_at=window_start(window),
            held_out=why is not None,
        ):
            detail = {"held_out": why is not None, **({"why": why} if why else {})}
            events.record(connection, EventKind.OPENED, actor=actor, window=window, detail=detail)
            opened.append(window)
    unopened_windows.opened(connection, opened)
    return opened


def refused_row(connection: Connection, settings: Settings) -> RefusedRow | None:
    """Read the row of refusals that asks for held-out hours, and those since; None: none does."""
    refused_at = refusals.evaluated_in_a_row(connection, settings.lineage)
    row = current_row(refused_at)
    if not row:
        return None
    earliest, newest = (
        fetch_value(connection, "open_and_seal.newest_by", str, moment=moment) or ""
        for moment in (refused_at[0], row[0])
    )
    held_out = fetch_pairs(
        connection,
        "open_and_seal.held_out_from",
        str,
        bool,
        window=earliest,
        newest=newest,
        min_spread=settings.min_reward_spread,
    )
    return RefusedRow(
        refused=len(row),
        newest=newest or None,
        held_out={window for window in held_out if window >= newest},
        useful={window for window, useful in held_out.items() if useful and window > earliest},
    )


def _why_held_out(connection: Connection, window: str, settings: Settings) -> str | None:
    lineage, share = settings.lineage, settings.held_out_share
    if share == 0:
        return None
    if is_held_out(window, lineage, share):
        return f"drawn by hash, a share of {share:g}"
    # Read again for each window: another process may be opening hours too.
    row = refused_row(connection, settings)
    return None if row is None else why_out_of_turn(window, row, lineage, share)


def seal_due(
    connection: Connection,
    settings: Settings,
    *,
    limit: int,
    actor: str,
    complete_before: datetime | None = None,
) -> list[str]:
    """Seal the windows that are over and quiet, or have been open for too long.

    Quiet is a window whose rows have been the same at every call for ``grace_seconds``; each call
    reads the ids of the rows of all open windows that are over, up to ``limit``.
    Windows that ended before ``complete_before`` are not waited for.
    """
    due = fetch_pairs(
        connection,
        "open_and_seal.due_to_seal",
        str,
        bool,
        max_open=settings.max_open_seconds,
        limit=limit,
    )
    sealed = []
    for window, overdue in due.items():
        complete = complete_before is not None and window_end(window) <= complete_before
        if not (overdue or complete or _is_quiet(connection, window, settings)):
            continue
        counted = change(connection, window, SEAL, WindowState.SEALED, _Sealed, **_span(window))
        if counted is None:  # another beat was faster
            continue
        detail = structs.asdict(counted) | {"overdue": overdue}
        events.record(connection, EventKind.SEALED, actor=actor, window=window, detail=detail)
        sealed.append(window)
    return sealed


def more_to_seal(connection: Connection, settings: Settings) -> bool:
    """Whether another ``seal_due`` would get further at once: the limit has cut this one short.

    Each call seals all windows of which this is true, or notes that their rows have changed.
    """
    return bool(
        fetch_value(
            connection,
            "open_and_seal.more_to_seal",
            bool,
            grace=settings.grace_seconds,
            max_open=settings.max_open_seconds,
        )
    )


def _is_quiet(connection: Connection, window: str, settings: Settings) -> bool:
    execute(connection, "open_and_seal.note_rows", window=window, **_span(window))
    grace = settings.grace_seconds
    return bool(fetch_value(connection, "open_and_seal.is_quiet", bool, window=window, grace=grace))


def _span(window: str) -> dict[str, Any]:
    # Babylon's columns have no time zone and mean UTC.
    return {
        "start": window_start(window).replace(tzinfo=None),
        "end": window_end(window).replace(tzinfo=None),
    }
