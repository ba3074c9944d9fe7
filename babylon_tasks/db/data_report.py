"""What the database contains, window by window, and what was decided about it."""

from __future__ import annotations

from datetime import datetime

from msgspec import Struct

from babylon_tasks.db.session import Connection
from babylon_tasks.db.sql import fetch_all, fetch_pairs, fetch_value


class RecordedWindow(Struct, frozen=True):
    """A window of Babylon's trajectories; ``decided``: it was scored, or skipped by scoring.

    ``held_out`` and ``state`` are None where it has not been opened; ``reason`` is then why.
    """

    window: str
    state: str | None
    reason: str | None
    held_out: bool | None
    decided: bool
    pruned: bool
    reward_version: int
    trajectories: int
    agents: int


def is_migrated(connection: Connection) -> bool:
    """Check whether this database has our windows at all."""
    return bool(fetch_value(connection, "data_report.is_migrated", bool))


def overview(
    connection: Connection, since: str | None, limit: int, *, migrated: bool
) -> list[RecordedWindow]:
    """List every window that has trajectories, newest first, valid ids or not."""
    query = "data_report.overview" if migrated else "data_report.overview_before_migration"
    return fetch_all(connection, query, RecordedWindow, since=since, limit=limit)


def newest_sealed(connection: Connection) -> datetime | None:
    """Find the start of the newest window that is sealed."""
    return fetch_value(connection, "data_report.newest_sealed", datetime)


def decided(
    connection: Connection, recorded: RecordedWindow, *, lineage: str
) -> tuple[int, dict[str, int]]:
    """Count what the lineage can use of a scored window, and the other trajectories by reason."""
    about = {"window": recorded.window, "lineage": lineage}
    version = recorded.reward_version
    usable = fetch_value(connection, "data_report.usable", int, **about, version=version) or 0
    return usable, fetch_pairs(connection, "data_report.rejected", str, int, **about)


def for_a_warm_start(connection: Connection, recorded: RecordedWindow, *, lineage: str) -> int:
    """Count the trajectories of a scored window that a supervised step may choose from."""
    window = recorded.window
    found = fetch_value(
        connection, "data_report.for_a_warm_start", int, window=window, lineage=lineage
    )
    return found or 0
