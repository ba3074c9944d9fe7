"""Which checkpoint serves, who decided so and why: ``promotions``, and Babylon's own status."""

from __future__ import annotations

from collections.abc import Mapping
from datetime import UTC, datetime
from typing import Any

from msgspec import Struct
from psycopg.types.json import Jsonb

from babylon_tasks import tracing
from babylon_tasks.comparison.fall_back import ServedSince
from babylon_tasks.db import events, publication
from babylon_tasks.db.session import Connection
from babylon_tasks.db.sql import (
    execute,
    fetch_all,
    fetch_one,
    fetch_pairs,
    fetch_value,
    fetch_values,
)
from babylon_tasks.decisions import Decision
from babylon_tasks.errors import CheckpointNotFound
from babylon_tasks.event_kinds import EventKind
from babylon_tasks.settings import Settings


class Promotion(Struct, frozen=True):
    """A decision; a hold keeps ``from_step`` serving and names the refused ``to_step``."""

    decision: Decision
    from_step: int
    to_step: int
    reason: str
    figures: dict[str, Any]
    actor: str
    decided_at: datetime


class ServingRow(Struct, frozen=True):
    """Which checkpoint serves, by which name and where; without address until a trainer served."""

    step: int
    inference_name: str
    base_url: str | None
    backend: str


def lock(connection: Connection, lineage: str) -> int:
    """Lock the lineage for the caller's transaction; returns the serving step.

    Raises CheckpointNotFound.
    """
    step = fetch_value(connection, "promotions.lock", int, lineage=lineage)
    if step is None:
        raise not_begun(lineage)
    return step


def move(connection: Connection, lineage: str, step: int) -> None:
    """Point to another checkpoint, in the caller's transaction, under ``lock``."""
    execute(connection, "promotions.move", lineage=lineage, step=step)


def record(
    connection: Connection,
    lineage: str,
    decision: Decision,
    *,
    from_step: int,
    to_step: int,
    reason: str,
    figures: Mapping[str, Any],
    actor: str,
) -> None:
    """Write a decision and its event, and Babylon's rows, once the pointer has moved."""
    execute(
        connection,
        "promotions.record",
        lineage=lineage,
        decision=decision,
        from_step=from_step,
        to_step=to_step,
        reason=reason,
        figures=Jsonb(dict(figures)),
        actor=actor,
    )
    # Those of a rollback are about what is taken out of service, not about what serves again.
    reported = {} if decision is Decision.ROLLBACK else figures
    missing = publication.decided(connection, lineage, to_step, figures=reported)
    detail: dict[str, Any] = {"from_step": from_step, "to_step": to_step, "reason": reason}
    if missing:
        detail["not_reported_to_babylon"] = missing
    events.record(connection, EventKind(decision), actor=actor, lineage=lineage, detail=detail)
    if tracing.is_on():
        about = from_step if decision is Decision.ROLLBACK else to_step
        tracing.record(
            tracing.Span.DECISION,
            fetch_values(connection, "promotions.windows_of", str, lineage=lineage, step=about),
            began=datetime.now(UTC),
            lineage=lineage,
            step=about,
            decision=decision,
            reason=reason,
        )


def serving(connection: Connection, lineage: str) -> ServingRow:
    """Read which checkpoint serves; raises CheckpointNotFound if the lineage does not exist yet."""
    row = fetch_one(connection, "promotions.serving", ServingRow, lineage=lineage)
    if row is None:
        raise not_begun(lineage)
    return row


def servable(connection: Connection, lineage: str) -> dict[int, str]:
    """Map the checkpoints that are not pruned to the names that their server knows."""
    return fetch_pairs(connection, "promotions.servable", int, str, lineage=lineage)


def is_committed(connection: Connection, lineage: str, step: int) -> bool:
    """Check whether a checkpoint exists."""
    return bool(fetch_value(connection, "promotions.checkpoint", bool, lineage=lineage, step=step))


def was_rolled_back(connection: Connection, lineage: str, *steps: int) -> bool:
    """Check whether one of these checkpoints was taken out of service."""
    return bool(
        fetch_value(connection, "promotions.rolled_back", bool, lineage=lineage, steps=[*steps])
    )


def rolled_back_since(connection: Connection, lineage: str, moment: datetime) -> str | None:
    """Find who has rolled back a lineage last since a moment; None: nobody."""
    return fetch_value(
        connection, "promotions.rolled_back_since", str, lineage=lineage, moment=moment
    )


def learns_anew_since(connection: Connection, lineage: str) -> str | None:
    """Read since which window agents had earned less when an earlier checkpoint came back for that,
    the last time; None: it never did."""
    return fetch_value(connection, "promotions.learns_anew_since", str, lineage=lineage)


def before(connection: Connection, lineage: str, step: int) -> int | None:
    """Find what served before ``step`` was promoted."""
    return fetch_value(connection, "promotions.before", int, lineage=lineage, step=step)


def served(connection: Connection, lineage: str) -> list[ServedSince]:
    """List what has served since when, in this order."""
    return fetch_all(connection, "promotions.served", ServedSince, lineage=lineage)


def served_before(connection: Connection, lineage: str, step: int) -> list[int]:
    """List what was promoted besides ``step`` and never rolled back, the newest first."""
    return fetch_values(connection, "promotions.served_before", int, lineage=lineage, step=step)


def latest(connection: Connection, lineage: str) -> Promotion | None:
    """Read the newest decision."""
    return fetch_one(connection, "promotions.latest", Promotion, lineage=lineage)


def not_begun(lineage: str) -> CheckpointNotFound:
    """Make the error for a lineage that has not been trained or served yet."""
    return CheckpointNotFound(
        f"lineage {lineage} does not exist yet: no worker has served or trained it yet; "
        "start a gpu-worker, or check BABYLON_LINEAGE"
    )


def head_is_unevaluated(
    connection: Connection, settings: Settings, *, for_seconds: float | None = None
) -> bool:
    """Check whether nothing is decided about the newest checkpoint so long after its commit.

    By default that is a lease: then nobody is about to decide.
    """
    found = fetch_value(
        connection,
        "promotions.head_is_unevaluated",
        bool,
        lineage=settings.lineage,
        seconds=settings.lease_seconds if for_seconds is None else for_seconds,
    )
    return bool(found)
