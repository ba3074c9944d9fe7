"""The arms of a comparison: written with a decision about promotion, read by the gateway."""

from __future__ import annotations

from collections.abc import Set

from msgspec import structs

from babylon_tasks.arms import Arms, without
from babylon_tasks.db import old_checkpoints, promotions
from babylon_tasks.db.session import Connection
from babylon_tasks.db.sql import execute, fetch_all, fetch_value
from babylon_tasks.errors import CheckpointRefused
from babylon_tasks.policy_names import policy_name


def begin(connection: Connection, lineage: str, arms: Arms) -> None:
    """Let arms count from their hour on, in the caller's transaction; shares of 0 end them.

    Raises CheckpointNotFound for a checkpoint that was pruned, or a lineage that does not exist.
    """
    with connection.transaction():
        promotions.lock(connection, lineage)  # pruning takes it too: neither misses the other
        for step in (arms.control_step, arms.examinee_step):
            _refuse_pruned(connection, lineage, step)
        execute(
            connection,
            "arms.begin",
            lineage=lineage,
            **{name: getattr(arms, name) for name in Arms.__struct_fields__},
        )


def since(connection: Connection, lineage: str, window: str) -> list[Arms]:
    """Read the arms that count in an hour or will count after it, in the order of decisions."""
    return fetch_all(connection, "arms.since", Arms, lineage=lineage, window=window)


def anchor_is_external(connection: Connection, lineage: str) -> bool:
    """Check whether the control arm of now or of the next hour has another server's model."""
    found = since(connection, lineage, this_hour(connection))
    return bool(found) and found[-1].control_model is not None


def steps(connection: Connection, lineage: str) -> set[int]:
    """Read the checkpoints that agents in arms get, now or in an hour to come."""
    found = since(connection, lineage, this_hour(connection))
    drawn = {one.control_step for one in found} | {one.examinee_step for one in found}
    return {step for step in drawn if step is not None}


def end_those_of(connection: Connection, lineage: str, steps: Set[int]) -> None:
    """End the arms that have one of these checkpoints, at once and in the hours to come.

    In the caller's transaction, under the lineage's lock.
    """
    window = this_hour(connection)
    found = since(connection, lineage, window)
    if all(without(one, steps) == one for one in found):
        return
    for one in found:
        begin(
            connection,
            lineage,
            structs.replace(without(one, steps), from_window=max(one.from_window, window)),
        )


def this_hour(connection: Connection) -> str:
    """Name the hour that has begun."""
    window = fetch_value(connection, "arms.this_hour", str)
    assert window is not None  # noqa: S101  # an expression has a value
    return window


def _refuse_pruned(connection: Connection, lineage: str, step: int | None) -> None:
    if step is None:
        return
    pruned_at = old_checkpoints.pruned_at(connection, lineage, step)
    if pruned_at is not None:
        raise CheckpointRefused(
            f"{policy_name(lineage, step)} was pruned at {pruned_at:%Y-%m-%d %H:%M} UTC and its "
            "weights are gone, so no arm can have it and the arms are as they were; "
            "`babylon-tasks models list` lists the checkpoints"
        )
