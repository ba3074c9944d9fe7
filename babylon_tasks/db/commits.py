"""The one transaction that makes a training step count, for this project and for Babylon."""

from __future__ import annotations

from collections.abc import Sequence

from babylon_tasks.db import events, publication, step_windows
from babylon_tasks.db.lineages import Lease, lock_lineage, stale
from babylon_tasks.db.session import Connection
from babylon_tasks.db.sql import queries
from babylon_tasks.db.steps import Result, Step
from babylon_tasks.errors import StaleLease
from babylon_tasks.event_kinds import EventKind
from babylon_tasks.states import StepState, check_step


def commit(
    connection: Connection,
    lease: Lease,
    step: Step,
    result: Result,
    *,
    base_model: str,
    rewards: Sequence[tuple[str, float]],
    actor: str,
) -> None:
    """Checkpoint, step, windows, head and Babylon's own rows, or nothing at all; raises StaleLease.

    ``rewards``: (trajectory id, reward) in the manifest's order.
    """
    check_step(StepState.TRAINED, StepState.COMMITTED, step.id)
    found = queries("steps")
    name = f"{step.lineage}@{step.target_step}"
    mine = {"step_id": step.id, "fencing_token": lease.fencing_token}
    with connection.transaction():
        lock_lineage(connection, lease)
        row = connection.execute(found["commit"], mine).fetchone()
        if row is None:
            raise StaleLease(
                f"step row {step.id} ({name}) is not under fencing token {lease.fencing_token}; "
                "nothing was written, whoever holds the lineage now decides about it"
            )
        connection.execute(
            found["checkpoint"],
            {
                "lineage": step.lineage,
                "step": step.target_step,
                "step_id": step.id,
                "uri": result.uri,
                "content_hash": result.adapter_hash,
                "inference_name": result.inference_name,
            },
        )
        advance = {
            "name": step.lineage,
            "fencing_token": lease.fencing_token,
            "step": step.target_step,
        }
        if not connection.execute(queries("lineages")["advance"], advance).rowcount:
            raise stale(lease)
        for window in step.windows:
            step_windows.end(connection, window, lineage=step.lineage, step_id=step.id, actor=actor)
        missing = publication.committed(
            connection,
            step,
            result,
            base_model=base_model,
            rewards=rewards,
            started_at=row[0],
        )
        detail = {
            "step": step.target_step,
            "windows": step.windows,
            "trajectories": len(rewards),
            "gradient_steps": result.gradient_steps,
            "trainable_tokens": result.trainable_tokens,
            "adapter_hash": result.adapter_hash,
        }
        if missing:
            detail["not_told_to_babylon"] = missing
        events.record(
            connection,
            EventKind.STEP_COMMITTED,
            actor=actor,
            lineage=step.lineage,
            step_id=step.id,
            detail=detail,
        )
