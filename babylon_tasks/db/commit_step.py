"""The one transaction that makes a training step count, for this project and for Babylon."""

from __future__ import annotations

from collections.abc import Sequence

from psycopg.types.json import Jsonb

from babylon_tasks.db import lineages, publication, step_windows, steps
from babylon_tasks.db.lineages import Lease
from babylon_tasks.db.session import Connection
from babylon_tasks.db.sql import execute
from babylon_tasks.db.steps import Step
from babylon_tasks.states import COMMIT
from babylon_tasks.step_records import StepResult


def commit_step(
    connection: Connection,
    lease: Lease,
    step: Step,
    result: StepResult,
    *,
    base_model: str,
    rewards: Sequence[tuple[str, float]],
    actor: str,
) -> Step:
    """Write checkpoint, head, windows, Babylon's own rows and the step, or nothing at all.

    ``rewards``: (trajectory id, reward) in the manifest's order. Raises StaleLease, and
    IllegalTransition if the step is not verified or a window of it is not in training.
    """
    with connection.transaction():
        lineages.lock_lineage(connection, lease)
        lineages.move_head(connection, lease, step.target_step)
        execute(
            connection,
            "steps.checkpoint",
            lineage=step.lineage,
            step=step.target_step,
            step_id=step.id,
            uri=result.uri,
            content_hash=result.adapter_hash,
            files=Jsonb(result.files),
            inference_name=result.inference_name,
            backend_step=result.backend_step,
        )
        for window in sorted(step.windows):  # locked in this order by everybody
            step_windows.end(connection, window, lineage=step.lineage, step_id=step.id, actor=actor)
        missing = publication.committed(
            connection, step, result, base_model=base_model, rewards=rewards
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
            detail["not_reported_to_babylon"] = missing
        # Last, so that its event lists the results of the rest.
        return steps.advance(connection, lease, step, COMMIT, actor=actor, detail=detail)
