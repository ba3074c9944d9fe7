"""What the database holds, window by window, and what was decided about it."""

from __future__ import annotations

from msgspec import Struct

from babylon_tasks.db.session import Connection
from babylon_tasks.db.sql import queries


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
    row = connection.execute(queries("data_report")["is_migrated"]).fetchone()
    return row is not None and bool(row[0])


def overview(
    connection: Connection, since: str | None, limit: int, *, migrated: bool
) -> list[Held]:
    """Every window that holds trajectories, newest first, well formed or not."""
    query = queries("data_report")["overview" if migrated else "overview_before_migration"]
    with connection.cursor() as cursor:
        return [Held(*row) for row in cursor.execute(query, {"since": since, "limit": limit})]


def judged(connection: Connection, held: Held) -> tuple[int, dict[str, int]]:
    """Usable trajectories of a scored window, and the others by reason."""
    parameters = {"window": held.window, "version": held.reward_version}
    usable = connection.execute(queries("data_report")["usable"], parameters).fetchone()
    rejected = connection.execute(queries("data_report")["rejected"], parameters).fetchall()
    return (usable[0] if usable else 0), dict(rejected)
