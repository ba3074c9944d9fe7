"""The arms of a comparison: written with a decision about promotion, read by the gateway."""

from __future__ import annotations

from babylon_tasks.arms import Arms
from babylon_tasks.db.session import Connection
from babylon_tasks.db.sql import execute, fetch_all


def begin(connection: Connection, lineage: str, arms: Arms) -> None:
    """Let arms count from their hour on, in the caller's transaction; shares of 0 end them."""
    execute(
        connection,
        "arms.begin",
        lineage=lineage,
        **{name: getattr(arms, name) for name in Arms.__struct_fields__},
    )


def since(connection: Connection, lineage: str, window: str) -> list[Arms]:
    """Read the arms that count in an hour or will count after it, in the order of decisions."""
    return fetch_all(connection, "arms.since", Arms, lineage=lineage, window=window)
