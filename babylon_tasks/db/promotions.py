"""Which checkpoint serves, who decided so and why: ``promotions``, and Babylon's own words."""

from __future__ import annotations

from collections.abc import Mapping
from datetime import datetime
from typing import Any

from msgspec import Struct
from psycopg.rows import class_row
from psycopg.types.json import Jsonb

from babylon_tasks.db import events, publication
from babylon_tasks.db.session import Connection
from babylon_tasks.db.sql import queries
from babylon_tasks.errors import CheckpointNotFound
from babylon_tasks.settings import Settings


class Promotion(Struct, frozen=True):
    """A decision; a hold keeps ``from_step`` serving and names the refused ``to_step``."""

    decision: str
    from_step: int
    to_step: int
    reason: str
    evidence: dict[str, Any]
    actor: str
    decided_at: datetime


def lock(connection: Connection, lineage: str) -> tuple[int, int]:
    """(head, serving), locked for the caller's transaction; raises CheckpointNotFound."""
    row = connection.execute(queries("promotions")["lock"], {"lineage": lineage}).fetchone()
    if row is None:
        raise not_begun(lineage)
    return row[0], row[1]


def move(connection: Connection, lineage: str, step: int) -> None:
    """Point to another checkpoint, in the caller's transaction, under ``lock``."""
    parameters = {"lineage": lineage, "step": step}
    connection.execute(queries("promotions")["move"], parameters)


def record(
    connection: Connection,
    lineage: str,
    decision: str,
    *,
    from_step: int,
    to_step: int,
    reason: str,
    evidence: Mapping[str, Any],
    actor: str,
) -> None:
    """Write a decision and its event, and tell Babylon, once the pointer has moved."""
    parameters = {
        "lineage": lineage,
        "decision": decision,
        "from_step": from_step,
        "to_step": to_step,
        "reason": reason,
        "evidence": Jsonb(dict(evidence)),
        "actor": actor,
    }
    connection.execute(queries("promotions")["record"], parameters)
    # Evidence is about the checkpoint that was evaluated, and a rollback has none.
    missing = publication.decided(connection, lineage, to_step, evidence=evidence)
    detail: dict[str, Any] = {"from_step": from_step, "to_step": to_step, "reason": reason}
    if missing:
        detail["not_told_to_babylon"] = missing
    events.record(connection, decision, actor=actor, lineage=lineage, detail=detail)


def serving(connection: Connection, lineage: str) -> tuple[int, str, str | None]:
    """(step, inference name, base URL) of what serves; raises CheckpointNotFound."""
    row = connection.execute(queries("promotions")["serving"], {"lineage": lineage}).fetchone()
    if row is None:
        raise not_begun(lineage)
    return row[0], row[1], row[2]


def is_committed(connection: Connection, lineage: str, step: int) -> bool:
    """Whether there is such a checkpoint."""
    return _exists(connection, "checkpoint", lineage, step)


def was_rolled_back(connection: Connection, lineage: str, step: int) -> bool:
    """Whether somebody took this checkpoint out of service."""
    return _exists(connection, "rolled_back", lineage, step)


def before(connection: Connection, lineage: str, step: int) -> int | None:
    """What served before ``step`` was promoted."""
    parameters = {"lineage": lineage, "step": step}
    row = connection.execute(queries("promotions")["before"], parameters).fetchone()
    return None if row is None else int(row[0])


def latest(connection: Connection, lineage: str) -> Promotion | None:
    """The newest decision."""
    with connection.cursor(row_factory=class_row(Promotion)) as cursor:
        return cursor.execute(queries("promotions")["latest"], {"lineage": lineage}).fetchone()


def list_promotions(connection: Connection, lineage: str, *, limit: int = 100) -> list[Promotion]:
    """All decisions, newest first."""
    parameters = {"lineage": lineage, "limit": limit}
    with connection.cursor(row_factory=class_row(Promotion)) as cursor:
        return cursor.execute(queries("promotions")["list"], parameters).fetchall()


def announce(connection: Connection, lineage: str, *, backend: str, base_url: str) -> None:
    """Write down where the trainer serves inference."""
    parameters = {"lineage": lineage, "backend": backend, "base_url": base_url}
    connection.execute(queries("promotions")["announce"], parameters)


def not_begun(lineage: str) -> CheckpointNotFound:
    """Nobody has trained or served this lineage yet."""
    return CheckpointNotFound(
        f"lineage {lineage} has not begun: no worker has served or trained it yet; "
        "start a worker on queue gpu, or check BABYLON_LINEAGE"
    )


def _exists(connection: Connection, name: str, lineage: str, step: int) -> bool:
    parameters = {"lineage": lineage, "step": step}
    row = connection.execute(queries("promotions")[name], parameters).fetchone()
    return row is not None and bool(row[0])


def head_is_unevaluated(connection: Connection, settings: Settings) -> bool:
    """Whether a worker died between a commit and its gate_result: nobody else would come back."""
    parameters = {"lineage": settings.lineage, "lease": settings.lease_seconds}
    row = connection.execute(queries("promotions")["head_is_unevaluated"], parameters).fetchone()
    return bool(row and row[0])
