"""The training configuration of a step by GRPO: settings, and what depends on its data. PURE."""

from __future__ import annotations

from babylon_tasks.dataset.manifest import TrainingConfig
from babylon_tasks.dataset.schedule import row_length
from babylon_tasks.dataset.training_defaults import TrainingValues
from babylon_tasks.settings import Settings


def training_config(
    settings: Settings, values: TrainingValues, *, rate: float, longest: int
) -> TrainingConfig:
    """Build it for a learning rate and the tokens of the longest call; 0: they are not known."""
    return TrainingConfig(
        learning_rate=rate,
        kl_coefficient=values.kl_coefficient,
        seed=settings.seed,
        packed_sequence_length=row_length(longest, values.packed_sequence_length),
        min_reward_spread=settings.min_reward_spread,
        max_group_size=settings.max_group_size,
        max_staleness_steps=settings.max_staleness_steps,
        scale_rewards=values.scale_rewards,
        max_importance_ratio=values.max_importance_ratio,
        advantage_balance=settings.advantage_balance,
    )
