"""Which checkpoints nothing needs any more; they are marked before their files are deleted."""

from __future__ import annotations

from collections.abc import Collection
from datetime import datetime

from msgspec import Struct

from babylon_tasks.db import events, promotions
from babylon_tasks.db.session import Connection
from babylon_tasks.db.sql import execute, fetch_all, fetch_value, fetch_values
from babylon_tasks.event_kinds import EventKind

# What served before, beside what serves: a damaged serving checkpoint falls back to it.
_FALLBACKS = 2


class _Marked(Struct, frozen=True):
    step: int
    step_id: int | None


def to_prune(
    connection: Connection, lineage: str, *, newest: int, answered: Collection[int] = ()
) -> list[int]:
    """List the checkpoints to prune: all but the ``newest`` ones and those that are needed.

    ``answered``: checkpoints whose answers the next step may score again; of these, the ones that
    have served stay.
    """
    return fetch_values(
        connection,
        "old_checkpoints.to_prune",
        int,
        lineage=lineage,
        newest=newest,
        answered=list(answered),
        fallbacks=_FALLBACKS,
    )


def mark(
    connection: Connection,
    lineage: str,
    *,
    newest: int,
    answered: Collection[int],
    actor: str,
) -> list[int]:
    """Mark what ``to_prune`` lists, on record; what serves cannot move meanwhile."""
    with connection.transaction():
        promotions.lock(connection, lineage)
        steps = to_prune(connection, lineage, newest=newest, answered=answered)
        marked = fetch_all(
            connection, "old_checkpoints.mark", _Marked, lineage=lineage, steps=steps
        )
        for one in marked:
            events.record(
                connection,
                EventKind.CHECKPOINT_PRUNED,
                actor=actor,
                lineage=lineage,
                step_id=one.step_id,
                detail={"step": one.step},
            )
    return steps


def pruned(connection: Connection, lineage: str) -> list[int]:
    """List all checkpoints that are marked, whether or not their files are gone."""
    return fetch_values(connection, "old_checkpoints.pruned", int, lineage=lineage)


def to_delete(connection: Connection, lineage: str) -> list[int]:
    """List those that are marked and may still have files."""
    return fetch_values(connection, "old_checkpoints.to_delete", int, lineage=lineage)


def note_deleted(connection: Connection, lineage: str, steps: Collection[int]) -> None:
    """Note that the files of these are gone."""
    execute(connection, "old_checkpoints.note_deleted", lineage=lineage, steps=list(steps))


def without_optimizer(connection: Connection, lineage: str) -> list[int]:
    """List committed checkpoints whose optimizer state nobody will read."""
    return fetch_values(connection, "old_checkpoints.without_optimizer", int, lineage=lineage)


def ended_steps(connection: Connection, lineage: str, ids: Collection[int]) -> list[int]:
    """List those of the steps, by id, that are committed or failed."""
    return fetch_values(
        connection, "old_checkpoints.ended_steps", int, lineage=lineage, ids=list(ids)
    )


def pruned_at(connection: Connection, lineage: str, step: int) -> datetime | None:
    """Return when a checkpoint was pruned, None if it was not."""
    return fetch_value(
        connection, "old_checkpoints.pruned_at", datetime, lineage=lineage, step=step
    )
