"""What is on record about steps that did not fit into memory, by the events of their faults."""

from __future__ import annotations

from babylon_tasks.db.session import Connection
from babylon_tasks.db.sql import fetch_value


def runs(connection: Connection, step_id: int) -> int:
    """Count the runs of a step that ended for want of memory, or with a killed trainer."""
    return fetch_value(connection, "out_of_memory.runs", int, step_id=step_id) or 0


def most_groups(connection: Connection, lineage: str, window: str) -> int | None:
    """Find how many groups of a window a step may take, alone; None where any number may fit."""
    return fetch_value(connection, "out_of_memory.most_groups", int, lineage=lineage, window=window)


def others_fit(connection: Connection, step_id: int) -> bool:
    """Check whether another step was committed since these groups did not fit in an earlier one."""
    return bool(fetch_value(connection, "out_of_memory.others_fit", bool, step_id=step_id))
