"""Circuits: what pauses scoring, or a lineage's training, after repeated faults of one kind.

They are rows, timed by Postgres's clock: all workers share them, and a restart keeps them.
"""

from __future__ import annotations

from datetime import datetime

from msgspec import Struct

from babylon_tasks.db.session import Connection
from babylon_tasks.db.sql import execute, fetch_all, fetch_one, fetch_value
from babylon_tasks.faults import Fault
from babylon_tasks.settings import Settings

SCORING = "scoring"
_REASON_LENGTH = 1000


class Circuit(Struct, frozen=True):
    """An open circuit; ``paused``: its next try is not due yet."""

    name: str
    fault: str
    faults: int
    reason: str
    opened_at: datetime
    next_try_at: datetime
    paused: bool


def training(lineage: str) -> str:
    """Name the circuit of a lineage's training."""
    return f"training {lineage}"


def opened(connection: Connection) -> list[Circuit]:
    """List the open circuits."""
    return fetch_all(connection, "circuits.opened", Circuit)


def opened_by_name(connection: Connection, name: str) -> Circuit | None:
    """Read a circuit; None if it is closed."""
    return fetch_one(connection, "circuits.opened_by_name", Circuit, name=name)


def is_paused(connection: Connection, name: str) -> bool:
    """Check whether nobody may try now."""
    circuit = opened_by_name(connection, name)
    return circuit is not None and circuit.paused


def take_try(connection: Connection, name: str, settings: Settings) -> bool:
    """Take the try that is due; False where none is, or another has taken it."""
    return bool(execute(connection, "circuits.take_try", name=name, **_waits(settings)))


def count_fault(
    connection: Connection, name: str, fault: Fault, reason: str, settings: Settings
) -> bool:
    """Count a fault; returns whether it opened the circuit."""
    with connection.transaction():
        execute(
            connection,
            "circuits.count_fault",
            name=name,
            fault=fault,
            reason=reason[:_REASON_LENGTH],
        )
        return fetch_value(connection, "circuits.open", bool, name=name, **_waits(settings)) is True


def close(connection: Connection, name: str) -> bool:
    """Forget the faults; returns whether the circuit was open."""
    return fetch_value(connection, "circuits.close", bool, name=name) is True


def _waits(settings: Settings) -> dict[str, float]:
    return {
        "limit": settings.circuit_faults,
        "base": settings.retry_delay_seconds,
        "most": settings.circuit_max_seconds,
    }
