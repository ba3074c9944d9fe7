"""Mark trajectories as used, permanently, or as refused with a reason."""

from __future__ import annotations

from collections.abc import Collection, Sequence

from msgspec import Struct
from psycopg.errors import UniqueViolation

from babylon_tasks.db.lineages import Lease
from babylon_tasks.db.session import Connection
from babylon_tasks.db.sql import execute, fetch_pairs, recordset
from babylon_tasks.errors import DatabaseError
from babylon_tasks.reasons import UsedAs
from babylon_tasks.records import Rejection


class Use(Struct, frozen=True):
    """The use of one trajectory."""

    trajectory_id: str
    reward_version: int
    window_id: str
    use: UsedAs


def consume(
    connection: Connection, lease: Lease, uses: Sequence[Use], *, step_id: int | None
) -> None:
    """Mark trajectories as used, permanently; raises DatabaseError for a second time."""
    if not uses:
        return
    try:
        execute(
            connection,
            "consumption.consume",
            lineage=lease.lineage,
            step_id=step_id,
            uses=recordset(uses),
        )
    except UniqueViolation as error:
        raise DatabaseError(
            f"lineage {lease.lineage} has already used a trajectory that it would use again "
            f"({error.diag.message_detail}); nothing was planned, see `babylon-tasks why`"
        ) from error


def reject(
    connection: Connection,
    lease: Lease,
    window: str,
    reward_version: int,
    rejections: Sequence[Rejection],
) -> None:
    """Record why trajectories are left out of the lineage's steps; existing rows stay."""
    if not rejections:
        return
    execute(
        connection,
        "consumption.reject",
        window=window,
        version=reward_version,
        lineage=lease.lineage,
        rejections=recordset(rejections),
    )


def began_in_pruned(connection: Connection, ids: Collection[str]) -> dict[str, str]:
    """Find those that began in an hour whose rows are pruned, with that hour.

    They are not used: that they have been may no longer be on record.
    """
    return fetch_pairs(connection, "consumption.began_in_pruned", str, str, ids=list(ids))


def release(connection: Connection, step_id: int) -> None:
    """Make a failed step's trajectories available again."""
    execute(connection, "consumption.release", step_id=step_id)


def used_up_since(connection: Connection, lineage: str, windows: Sequence[str]) -> dict[str, int]:
    """Count by use what of some windows was used up without a step, since a living step took each.

    A step that failed, and one whose branch is dead, gives back what it used, but not that.
    """
    return fetch_pairs(
        connection, "consumption.used_up_since", str, int, lineage=lineage, windows=list(windows)
    )
