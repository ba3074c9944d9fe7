"""Dead branches: nothing is trained on from their checkpoints, what they have used is free again.

Call those that write in a transaction, under the lineage's lock.
"""

from __future__ import annotations

from collections.abc import Collection
from typing import Any

from msgspec import Struct

from babylon_tasks.db import events, freed_windows
from babylon_tasks.db.session import Connection
from babylon_tasks.db.sql import execute, fetch_all, fetch_values
from babylon_tasks.event_kinds import EventKind


class _Changed(Struct, frozen=True):
    step: int
    step_id: int | None


class ToDiscard(Struct, frozen=True):
    """A dead checkpoint that the backend may still have, and what serves."""

    step: int
    step_id: int | None
    serving: int


def dead(connection: Connection, lineage: str) -> set[int]:
    """Read the checkpoints whose branch is dead."""
    return set(fetch_values(connection, "branches.dead", int, lineage=lineage))


def end(
    connection: Connection, lineage: str, steps: Collection[int], *, why: str, actor: str
) -> None:
    """Mark checkpoints as dead, free what their steps have used, and return their windows."""
    about = {"lineage": lineage, "steps": list(steps)}
    windows = fetch_values(connection, "branches.lock_windows", str, **about)
    for one in fetch_all(connection, "branches.end", _Changed, **about):
        freed = execute(connection, "branches.free_uses", step_id=one.step_id)
        detail = {"why": why, "trajectories": freed}
        _note(connection, EventKind.BRANCH_ENDED, lineage, one, actor=actor, **detail)
    for window in windows:
        freed_windows.return_freed(connection, window, lineage=lineage, actor=actor)


def revive(connection: Connection, lineage: str, steps: Collection[int], *, actor: str) -> None:
    """Let dead checkpoints count again; no living step may have used what theirs have."""
    about = {"lineage": lineage, "steps": list(steps)}
    fetch_values(connection, "branches.lock_windows", str, **about)
    for one in fetch_all(connection, "branches.revive", _Changed, **about):
        taken = execute(connection, "branches.take_uses_back", step_id=one.step_id)
        detail = {"trajectories": taken}
        _note(connection, EventKind.BRANCH_REVIVED, lineage, one, actor=actor, **detail)


def to_discard(connection: Connection, lineage: str) -> list[ToDiscard]:
    """List dead checkpoints that the backend may still have, the newest first.

    None while a step in work was trained from one of them.
    """
    return fetch_all(connection, "branches.to_discard", ToDiscard, lineage=lineage)


def note_discarded(
    connection: Connection, lineage: str, steps: Collection[int], *, why: str, actor: str
) -> None:
    """Note that checkpoints are gone from the backend."""
    noted = fetch_all(
        connection, "branches.note_discarded", _Changed, lineage=lineage, steps=list(steps)
    )
    for one in noted:
        _note(connection, EventKind.CHECKPOINT_DISCARDED, lineage, one, actor=actor, why=why)


def _note(
    connection: Connection,
    kind: EventKind,
    lineage: str,
    one: _Changed,
    *,
    actor: str,
    **detail: Any,
) -> None:
    events.record(
        connection,
        kind,
        actor=actor,
        lineage=lineage,
        step_id=one.step_id,
        detail={"step": one.step, **detail},
    )
