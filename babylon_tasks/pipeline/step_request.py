"""What a step asks its trainer for, and what its row says of the trainer's progress."""

from __future__ import annotations

import math
from pathlib import Path
from typing import Any

from babylon_tasks.dataset.manifest import from_row
from babylon_tasks.db.steps import Step
from babylon_tasks.training.protocol import GRADIENT_STEPS, RequestProgress, TrainRequest


def request_of(step: Step, groups: Path) -> TrainRequest:
    """Make the request of a step for its trainer, from its manifest alone."""
    manifest = from_row(step.manifest)
    config = manifest.config
    return TrainRequest(
        base_step=step.base_step,
        manifest_hash=step.manifest_hash,
        groups_path=str(groups),
        learning_rate=config.learning_rate,
        kl_coefficient=config.kl_coefficient,
        seed=config.seed,
        packed_sequence_length=config.packed_sequence_length,
        logprobs=manifest.logprobs,
        parent_step=manifest.parent_step,
        job=step.job,
        scale_rewards=config.scale_rewards,
        max_importance_ratio=config.max_importance_ratio,
        advantage_balance=config.advantage_balance,
        supervised=manifest.supervised,
    )


def progress_state(
    progress: RequestProgress, reward: float | None, elapsed: float
) -> dict[str, Any]:
    """Describe how far a step has come after ``elapsed`` seconds, as its row has it."""
    left = None
    if progress.done and progress.counted == GRADIENT_STEPS:
        left = elapsed * (progress.total - progress.done) / progress.done
    loss = progress.loss
    return {
        "done": progress.done,
        "total": progress.total,
        "counted": progress.counted,
        "tokens": progress.tokens,
        "loss": loss if loss is not None and math.isfinite(loss) else None,
        "reward": reward,
        "seconds_left": None if left is None else round(left, 1),
    }
