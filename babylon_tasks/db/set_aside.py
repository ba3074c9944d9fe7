"""Checkpoints that could not be verified: kept apart until a command or retention deletes them."""

from __future__ import annotations

from collections.abc import Collection
from datetime import datetime

from msgspec import Struct

from babylon_tasks.db import events
from babylon_tasks.db.session import Connection
from babylon_tasks.db.sql import execute, fetch_all, fetch_value
from babylon_tasks.event_kinds import EventKind

_WHY_LENGTH = 2000  # characters


class SetAside(Struct, frozen=True):
    """A checkpoint that is set aside; ``step`` is the number that it had or, at W&B, still has.

    ``folder``: its name in the folder `set-aside` beside the lineage's checkpoints.
    """

    id: int
    step: int
    folder: str
    why: str
    set_aside_at: datetime


def add(
    connection: Connection,
    lineage: str,
    step: int,
    *,
    step_id: int | None,
    folder: str,
    why: str,
    actor: str,
    stays: bool,
) -> None:
    """Note that a checkpoint is set aside; ``stays``: at W&B, where it keeps its number.

    There it is noted once, however often it is found.
    """
    why = why[:_WHY_LENGTH]
    with connection.transaction():
        added = fetch_value(
            connection,
            "set_aside.add",
            int,
            lineage=lineage,
            step=step,
            step_id=step_id,
            folder=folder,
            why=why,
            stays=stays,
        )
        if added is not None:
            events.record(
                connection,
                EventKind.CHECKPOINT_SET_ASIDE,
                actor=actor,
                lineage=lineage,
                step_id=step_id,
                detail={"step": step, "why": why, "folder": folder},
            )


def kept(connection: Connection, lineage: str) -> list[SetAside]:
    """List those that are not deleted, newest first."""
    return fetch_all(connection, "set_aside.kept", SetAside, lineage=lineage)


def old(connection: Connection, lineage: str, *, newest: int, all_: bool) -> list[SetAside]:
    """List those to delete: all but the ``newest`` ones, or all of them."""
    return fetch_all(
        connection, "set_aside.old", SetAside, lineage=lineage, newest=newest, all=all_
    )


def note_deleted(connection: Connection, ids: Collection[int]) -> None:
    """Note that the files of these are gone."""
    execute(connection, "set_aside.note_deleted", ids=list(ids))


def note_gone(connection: Connection, lineage: str, *, after: int) -> None:
    """Note that W&B has none beyond step ``after``, whoever has deleted them."""
    execute(connection, "set_aside.note_gone", lineage=lineage, after=after)
