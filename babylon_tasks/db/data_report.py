"""What the database holds, window by window, and what was decided about it."""

from __future__ import annotations

from msgspec import Struct

from babylon_tasks.db.session import Connection
from babylon_tasks.db.sql import fetch_all, fetch_pairs, fetch_value


class Held(Struct, frozen=True):
    """A window of Babylon's trajectories; ``judged``: it has been scored, or skipped by scoring."""

    window: str
    state: str | None
    reason: str | None
    judged: bool
    reward_version: int
    trajectories: int
    agents: int


def is_migrated(connection: Connection) -> bool:
    """Whether this database has windows of ours at all."""
    return bool(fetch_value(connection, "data_report.is_migrated", bool))


def overview(
    connection: Connection, since: str | None, limit: int, *, migrated: bool
) -> list[Held]:
    """Every window that holds trajectories, newest first, well formed or not."""
    query = "data_report.overview" if migrated else "data_report.overview_before_migration"
    return fetch_all(connection, query, Held, since=since, limit=limit)


def judged(connection: Connection, held: Held) -> tuple[int, dict[str, int]]:
    """Usable trajectories of a scored window, and the others by reason."""
    about = {"window": held.window, "version": held.reward_version}
    usable = fetch_value(connection, "data_report.usable", int, **about) or 0
    return usable, fetch_pairs(connection, "data_report.rejected", str, int, **about)
