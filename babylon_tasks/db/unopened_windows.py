"""Put on record why window ids of Babylon's rows have no window.

The reason is the hour's, so there is one row for each hour or id, however many trajectories it has.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable

from msgspec import Struct

from babylon_tasks.db.session import Connection
from babylon_tasks.db.sql import (
    execute,
    fetch_all,
    fetch_one,
    fetch_pairs,
    fetch_value,
    fetch_values,
)
from babylon_tasks.errors import WindowNotFound
from babylon_tasks.reasons import UnopenedReason

# Malformed ids are put on record up to this number; they then stand for all others.
BAD_IDS = 100
PART = 2_000  # ids that one call looks at

WhyNot = Callable[[str], UnopenedReason | None]


class UnopenedWindows(Struct, frozen=True):
    """How many window ids have no window for one reason, and the first and last by name."""

    reason: UnopenedReason
    count: int
    first: str
    last: str

    @property
    def what(self) -> str:
        """How many they are, of what kind, with their names."""
        names = self.first if self.count == 1 else f"{self.first} to {self.last}"
        if self.reason is UnopenedReason.BAD_WINDOW_ID:
            names = f"such as '{self.first}'"
        return f"{self.count} {meaning(self.reason)} ({names})"

    @property
    def todo(self) -> str:
        """What to do about them."""
        return todo(self.reason, self.first)


class _Survey(Struct, frozen=True):
    next_id: str | None
    bad_ids: int


def meaning(reason: UnopenedReason) -> str:
    """Return what a reason says of window ids."""
    return _MEANINGS[reason][0]


def todo(reason: UnopenedReason, window: str) -> str:
    """Return what to do about window ids, by the first of them."""
    return _MEANINGS[reason][1].format(window=window)


_MEANINGS = {
    UnopenedReason.BEFORE_LOOKBACK: (
        "hours before the look-back",
        "`babylon-tasks windows backfill --since {window}` opens them",
    ),
    UnopenedReason.NOT_BEGUN: (
        "hours that have not begun",
        "they are opened once they begin; check the clock of their writer",
    ),
    UnopenedReason.BAD_WINDOW_ID: (
        "malformed window ids",
        "write windowId as YYYY-MM-DDTHH:00 (UTC)",
    ),
}


def snapshot(connection: Connection) -> str:
    """Return which rows every later statement of the connection is sure to see."""
    found = fetch_value(connection, "unopened_windows.snapshot", str)
    assert found is not None  # noqa: S101  # a SELECT without FROM always has a row
    return found


def survey(
    connection: Connection,
    before: str,
    unnamed: Iterable[str],
    why_not: WhyNot,
    *,
    all_seen: bool = True,
) -> dict[str, UnopenedReason]:
    """Go on through the window ids of all rows; returns those that are newly on record.

    ``before``: the snapshot from before this call opened windows. ``unnamed``: ids without a window
    of the rows that name none. Where there are more than this call saw (not ``all_seen``), the
    survey goes on with a later one. ``why_not`` returns None for an hour that is to be opened.
    """
    at = fetch_one(connection, "unopened_windows.lock_survey", _Survey)
    if at is None:
        return {}
    ids = []
    if all_seen:
        ids = ids_from(connection, at.next_id or "", PART + 1, hours_only=at.bad_ids >= BAD_IDS)
    complete = len(ids) <= PART
    known = fetch_pairs(connection, "unopened_windows.unopened", str, str, ids=[*ids, *unnamed])
    found: dict[str, UnopenedReason] = {}
    room = BAD_IDS - at.bad_ids
    for window, on_record in known.items():
        reason = why_not(window)
        if reason is None or reason == on_record:
            continue
        if reason is UnopenedReason.BAD_WINDOW_ID:
            if room <= 0:
                continue
            room -= 1
        found[window] = reason
    execute(
        connection,
        "unopened_windows.name",
        ids=list(found),
        reasons=[str(reason) for reason in found.values()],
    )
    if not all_seen:
        return found
    execute(
        connection,
        "unopened_windows.go_on",
        next_id=None if complete else ids[-1],
        complete=complete,
        snapshot=before,
    )
    return found


def opened(connection: Connection, windows: list[str]) -> None:
    """Delete the accounts of windows that are open now."""
    if windows:
        execute(connection, "unopened_windows.opened", windows=windows)


def ids_from(
    connection: Connection, start: str, limit: int, *, hours_only: bool = False
) -> list[str]:
    """List window ids of Babylon's rows in the order of the index, hours or not."""
    return fetch_values(
        connection, "unopened_windows.ids", str, start=start, limit=limit, hours_only=hours_only
    )


def forget(connection: Connection) -> int:
    """Delete the accounts of ids whose rows are gone; reads all rows that name no window."""
    with connection.transaction():
        execute(connection, "unopened_windows.stop_survey")
        return execute(connection, "unopened_windows.forget", bad_ids=BAD_IDS)


def refuse(connection: Connection, window: str) -> None:
    """Raise WindowNotFound with the reason if it is on record why a window id has no window."""
    reason = fetch_value(connection, "unopened_windows.why", UnopenedReason, window=window)
    if reason is not None:
        raise WindowNotFound(
            f"{window} is not opened ({reason}): it is one of the {meaning(reason)}; "
            f"{todo(reason, window)}"
        )


def counts(connection: Connection) -> list[UnopenedWindows]:
    """Count the window ids without a window, by reason."""
    return fetch_all(connection, "unopened_windows.counts", UnopenedWindows)
