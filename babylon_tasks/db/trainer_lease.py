"""Which trainer may serve and train a lineage: by the name of its lock, until a deadline.

The lock on the folder excludes a second trainer on the same files; this one excludes a second
trainer on a copy of them, or on a folder of its own.
"""

from __future__ import annotations

from datetime import datetime

from msgspec import Struct

from babylon_tasks.db.session import Connection
from babylon_tasks.db.sql import execute, fetch_one


class TrainerLease(Struct, frozen=True):
    """Whose trainer it is, by the ``name`` of its lock, and until when without a renewal."""

    name: str
    until: datetime


def current(connection: Connection, lineage: str) -> TrainerLease | None:
    """Read who has the lease; None if it is free or over."""
    return fetch_one(connection, "trainer_lease.current", TrainerLease, lineage=lineage)


def take(
    connection: Connection, lineage: str, lock_name: str, seconds: float, *, folder_id: str
) -> bool:
    """Take the lease, and note the folder, unless another lock has it; returns whether it is ours.

    A trainer with the same lock need not wait: the former owner has ended.
    """
    return bool(
        execute(
            connection,
            "trainer_lease.take",
            lineage=lineage,
            lock_name=lock_name,
            seconds=seconds,
            folder_id=folder_id,
        )
    )


def renew(connection: Connection, lineage: str, lock_name: str, seconds: float) -> bool:
    """Extend the lease; returns False where another lock has it by now."""
    return bool(
        execute(
            connection,
            "trainer_lease.renew",
            lineage=lineage,
            lock_name=lock_name,
            seconds=seconds,
        )
    )


def release(connection: Connection, lineage: str, lock_name: str) -> None:
    """End the lease at once; another's is not changed."""
    execute(connection, "trainer_lease.release", lineage=lineage, lock_name=lock_name)
