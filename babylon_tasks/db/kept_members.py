"""What steps were trained on, kept with the step's plan so that it can be replayed."""

from __future__ import annotations

from collections.abc import Iterable
from datetime import datetime
from itertools import islice

from msgspec import Struct

from babylon_tasks.db.session import Connection
from babylon_tasks.db.sql import execute, fetch_all, fetch_one, fetch_values
from babylon_tasks.records import PackedMember

_ROWS = 100  # of one statement


class CommittedStep(Struct, frozen=True):
    """What is known of a committed step beside its row.

    ``kept_at`` is None where nothing was kept. ``content_hash``: of the checkpoint that it made.
    """

    backend: str
    kept_at: datetime | None
    pruned_at: datetime | None
    content_hash: str | None


class OutcomeChange(Struct, frozen=True):
    """A bet of a step's window whose outcome is not what its rewards were made from.

    ``yes`` and ``change`` were known then, ``yes_now`` and ``change_now`` are now; None: neither.
    """

    window: str
    kind: str
    name: str
    yes: bool | None
    change: float | None
    yes_now: bool | None
    change_now: float | None


def keep(connection: Connection, step_id: int, members: Iterable[PackedMember]) -> None:
    """Keep a step's members and the bets of its windows, in the transaction that plans it."""
    unread = iter(members)
    while portion := list(islice(unread, _ROWS)):
        execute(
            connection,
            "kept_members.keep",
            step_id=step_id,
            contents=[one.content for one in portion],
            members=[one.member for one in portion],
        )
    execute(connection, "kept_members.keep_bets", step_id=step_id)
    execute(connection, "kept_members.note_kept", step_id=step_id)


def forget(connection: Connection, step_id: int) -> None:
    """Delete what is kept of a step that has failed, or is old."""
    with connection.transaction():
        execute(connection, "kept_members.delete", step_id=step_id)
        execute(connection, "kept_members.delete_bets", step_id=step_id)
        execute(connection, "kept_members.note_pruned", step_id=step_id)
        execute(connection, "old_rows.shorten_manifest", step_id=step_id)


def prune(connection: Connection, kept_hours: float, *, limit: int) -> int:
    """Forget steps that were committed longer ago than that; returns how many."""
    old = fetch_values(connection, "kept_members.old", int, kept=kept_hours * 3600, limit=limit)
    for step_id in old:
        forget(connection, step_id)
    return len(old)


def about(connection: Connection, step_id: int) -> CommittedStep | None:
    """Read what is known of a committed step beside its row."""
    return fetch_one(connection, "kept_members.about", CommittedStep, step_id=step_id)


def of_step(connection: Connection, step_id: int) -> list[PackedMember]:
    """Read the members that are kept of a step, in any order."""
    return fetch_all(connection, "kept_members.of_step", PackedMember, step_id=step_id)


def changed_outcomes(connection: Connection, step_id: int) -> list[OutcomeChange]:
    """List the bets whose outcome has changed since the step was planned.

    Of windows whose rows are pruned none: their outcomes may be gone.
    """
    return fetch_all(connection, "kept_members.changed_outcomes", OutcomeChange, step_id=step_id)
