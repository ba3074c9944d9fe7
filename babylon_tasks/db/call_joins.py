"""Read captured calls, and join each of them to at most one recorded call."""

from __future__ import annotations

from collections.abc import Collection, Mapping
from datetime import datetime
from uuid import UUID

from babylon_tasks.db.session import Connection
from babylon_tasks.db.sql import fetch_all, fetch_value, fetch_values
from babylon_tasks.records import CallPlace, CapturedSample, TextHashes


def any_captured(connection: Connection, since: datetime, until: datetime) -> bool:
    """Check whether the gateway captured anything in this time."""
    if not fetch_value(connection, "call_joins.is_there", bool):
        return False
    found = fetch_value(connection, "call_joins.any_captured", bool, since=since, until=until)
    return bool(found)


def samples(
    connection: Connection, texts: Collection[TextHashes], since: datetime, until: datetime
) -> list[CapturedSample]:
    """Read what was captured in this time with these texts, the oldest first."""
    return fetch_all(
        connection,
        "call_joins.samples",
        CapturedSample,
        systems=[one.system for one in texts],
        users=[one.user for one in texts],
        answers=[one.answer for one in texts],
        since=since,
        until=until,
    )


def claim(connection: Connection, joined: Mapping[CallPlace, CapturedSample]) -> set[UUID]:
    """Join captured calls to recorded ones; returns those that nobody else had joined."""
    if not joined:
        return set()
    found = fetch_values(
        connection,
        "call_joins.claim",
        UUID,
        asked_at=[one.asked_at for one in joined.values()],
        capture_id=[one.capture_id for one in joined.values()],
        trajectory_id=[place.trajectory_id for place in joined],
        place=[place.place for place in joined],
    )
    return set(found)
