"""What is on record about what did not fit into memory, by the events of the faults."""

from __future__ import annotations

from msgspec import Struct

from babylon_tasks.db import events, step_windows
from babylon_tasks.db.lineages import Lease, lock_lineage
from babylon_tasks.db.session import Connection
from babylon_tasks.db.sql import fetch_all, fetch_value
from babylon_tasks.db.steps import ERROR_LENGTH
from babylon_tasks.errors import TrainingError
from babylon_tasks.event_kinds import EventKind
from babylon_tasks.settings import Settings


class Uninspected(Struct, frozen=True):
    """How often a group could not be inspected; whether another step fitted since the first."""

    group_key: str
    times: int
    others_fit: bool


def runs(connection: Connection, step_id: int) -> int:
    """Count the runs of a step that ended for want of memory, or with a killed trainer."""
    return fetch_value(connection, "out_of_memory.runs", int, step_id=step_id) or 0


def most_groups(connection: Connection, lineage: str, window: str) -> int | None:
    """Find how many groups of a window a step may take, alone; None where any number may fit."""
    return fetch_value(connection, "out_of_memory.most_groups", int, lineage=lineage, window=window)


def others_fit(connection: Connection, step_id: int) -> bool:
    """Check whether another step was committed since these groups did not fit in an earlier one."""
    return bool(fetch_value(connection, "out_of_memory.others_fit", bool, step_id=step_id))


def uninspected(connection: Connection, lineage: str, window: str) -> list[Uninspected]:
    """List a window's groups whose candidates could not be inspected for want of memory."""
    return fetch_all(
        connection, "out_of_memory.uninspected", Uninspected, lineage=lineage, window=window
    )


def note_uninspected(
    connection: Connection,
    lease: Lease,
    window: str,
    group_key: str,
    error: TrainingError,
    settings: Settings,
    *,
    waits: bool,
    actor: str,
) -> None:
    """Record that a group could not be inspected; no attempt counts. Raises StaleLease.

    ``waits``: its window, for so long that others are tried before it.
    """
    detail = {"reason": str(error)[:ERROR_LENGTH], "fault": error.fault, "group": group_key}
    with connection.transaction():
        lock_lineage(connection, lease)
        events.record(
            connection,
            EventKind.TRAINING_FAILED,
            actor=actor,
            window=window,
            lineage=lease.lineage,
            detail=detail,
        )
        if waits:
            step_windows.postpone(connection, window, wait_seconds(settings), lineage=lease.lineage)


def wait_seconds(settings: Settings) -> float:
    """Return for how many seconds what did not fit waits."""
    # Beyond the longest pause of a circuit: what is tried after it is not the same again.
    return 2 * settings.circuit_max_seconds
