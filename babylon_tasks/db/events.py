"""The record of events: what happened to a window or a step, by whom, and why."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from psycopg.types.json import Jsonb

from babylon_tasks.db.session import Connection
from babylon_tasks.db.sql import execute
from babylon_tasks.event_kinds import EventKind


def record(
    connection: Connection,
    kind: EventKind,
    *,
    actor: str,
    window: str | None = None,
    lineage: str | None = None,
    step_id: int | None = None,
    detail: Mapping[str, Any] | None = None,
) -> None:
    """Write one event in the caller's transaction, to be committed with it or not at all."""
    execute(
        connection,
        "events.record",
        window_id=window,
        lineage=lineage,
        step_id=step_id,
        kind=kind,
        detail=Jsonb(dict(detail or {})),
        actor=actor,
    )
