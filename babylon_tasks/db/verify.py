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


def overview(connection: Connection, since: str | None, limit: int) -> list[Held]:
    """Every window that holds trajectories, newest first, well formed or not."""
    with connection.cursor() as cursor:
        rows = cursor.execute(queries("verify")["overview"], {"since": since, "limit": limit})
        return [Held(*row) for row in rows]


def judged(connection: Connection, held: Held) -> tuple[int, dict[str, int]]:
    """Usable trajectories of a scored window, and the others by reason."""
    parameters = {"window": held.window, "version": held.reward_version}
    usable = connection.execute(queries("verify")["usable"], parameters).fetchone()
    rejected = connection.execute(queries("verify")["rejected"], parameters).fetchall()
    return (usable[0] if usable else 0), dict(rejected)
