"""Pauses of a lineage's training after too many rollbacks: a person lifts them, nothing else does.

Rows are only added. Unlike a circuit a pause is not tried again by itself.
"""

from __future__ import annotations

from datetime import datetime

from msgspec import Struct

from babylon_tasks.db import events, promotions
from babylon_tasks.db.session import Connection
from babylon_tasks.db.sql import execute, fetch_one
from babylon_tasks.event_kinds import EventKind


class Pause(Struct, frozen=True):
    """A row of ``training.pauses`` that nobody has lifted."""

    id: int
    comparison_id: int
    window: str
    reason: str
    actor: str
    paused_at: datetime

    @property
    def text(self) -> str:
        """Say what is paused, why, and what lifts it."""
        return (
            f"training has been paused since {self.paused_at:%F %T} UTC: {self.reason}; look at "
            "the windows that showed it, then `babylon-tasks compare resume --reason TEXT` lets it "
            "go on"
        )


def begin(
    connection: Connection,
    lineage: str,
    *,
    comparison_id: int,
    window: str,
    reason: str,
    actor: str,
) -> None:
    """Pause a lineage's training, in the caller's transaction, under the lineage's lock."""
    execute(
        connection,
        "pauses.begin",
        lineage=lineage,
        comparison=comparison_id,
        window=window,
        reason=reason,
        actor=actor,
    )
    events.record(
        connection,
        EventKind.TRAINING_PAUSED,
        actor=actor,
        window=window,
        lineage=lineage,
        detail={"comparison": comparison_id, "why": reason},
    )


def in_force(connection: Connection, lineage: str) -> Pause | None:
    """Read what pauses a lineage's training now."""
    return fetch_one(connection, "pauses.in_force", Pause, lineage=lineage)


def lift(connection: Connection, lineage: str, *, reason: str, actor: str) -> Pause | None:
    """Let training go on; returns what had paused it, or None."""
    with connection.transaction():
        found = in_force(connection, lineage)
        if found is None:
            return None
        promotions.lock(connection, lineage)
        if not execute(connection, "pauses.lift", lineage=lineage, reason=reason, actor=actor):
            return None  # another has lifted it meanwhile
        events.record(
            connection,
            EventKind.TRAINING_RESUMED,
            actor=actor,
            window=found.window,
            lineage=lineage,
            detail={"comparison": found.comparison_id, "why": reason},
        )
    return found
