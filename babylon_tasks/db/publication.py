"""What Babylon's own code reads of training: marks on trajectories, batches, models.

Babylon takes the newest ``ready`` or ``deployed`` model for its agents, and its automation deploys
what is ``ready``. So of a lineage only the serving checkpoint is ``ready``, and no other model is
newer. Call these under the lineage's lock, in the transaction that decides. If Babylon lacks a
table, its part is left out; ``babylon.missing`` names it.
"""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from typing import Any

from psycopg.types.json import Jsonb

from babylon_tasks.db import babylon
from babylon_tasks.db.session import Connection
from babylon_tasks.db.sql import execute
from babylon_tasks.db.steps import Step
from babylon_tasks.policy_names import policy_name
from babylon_tasks.step_records import StepResult

BATCHES, MODELS = "training_batches", "trained_models"
_IDS_AT_ONCE = 1000
# The keys under which ART's backends report the loss.
_LOSSES = ("loss/train", "train/loss", "loss")


def committed(
    connection: Connection,
    step: Step,
    result: StepResult,
    *,
    base_model: str,
    rewards: Sequence[tuple[str, float]],
) -> list[str]:
    """Write a committed step into Babylon's tables; returns those that are missing.

    ``rewards``: (trajectory id, reward).
    """
    name = policy_name(step.lineage, step.target_step)
    ids = [trajectory_id for trajectory_id, _ in rewards]
    for first in range(0, len(ids), _IDS_AT_ONCE):
        chunk = ids[first : first + _IDS_AT_ONCE]
        execute(connection, "publication.mark_used", batch=name, ids=chunk)
    average = sum(reward for _, reward in rewards) / len(rewards) if rewards else None
    row = {
        "name": name,
        "scenario": ",".join(step.windows),
        "base_model": base_model,
        "version": f"v1.0.{step.target_step}",
        "trajectory_ids": json.dumps(ids),
        "rewards": json.dumps([reward for _, reward in rewards]),
        "loss": next((result.metrics[k] for k in _LOSSES if k in result.metrics), None),
        "started_at": step.started_at,
        "inference_name": result.inference_name,
        "average_reward": average,
    }
    missing = babylon.missing(connection, BATCHES, MODELS)
    if BATCHES not in missing:
        execute(connection, "publication.batch", **row)
    if MODELS not in missing:
        execute(connection, "publication.model", **row)
        align_models(connection, step.lineage)
    return missing


def decided(
    connection: Connection, lineage: str, step: int, *, figures: Mapping[str, Any]
) -> list[str]:
    """Write a decision about a checkpoint into Babylon's tables; returns those that are missing."""
    missing = babylon.missing(connection, MODELS)
    if not missing:
        align_models(connection, lineage)
        if figures:
            value = figures.get("candidate")
            execute(
                connection,
                "publication.value",
                name=policy_name(lineage, step),
                score=None if value is None else 100 * value,  # Babylon's go from 0 to 100
                figures=Jsonb(dict(figures)),
            )
    return missing


def align_models(connection: Connection, lineage: str) -> int:
    """Align the lineage's rows of ``trained_models`` with our tables; returns how many changed.

    Before the lineage's first commit there are none, and nothing is done. "createdAt" is the moment
    of the promotion, or later if Babylon's own trainer has written a newer model, since Babylon
    orders by it.
    """
    if babylon.missing(connection, MODELS):
        return 0
    made = execute(connection, "publication.serving_model", lineage=lineage)
    return max(made, execute(connection, "publication.models", lineage=lineage))
