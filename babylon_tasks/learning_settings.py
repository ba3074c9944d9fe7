"""The settings of what a step learns from, how it is trained, and what is promoted."""

from __future__ import annotations

from typing import Self

from pydantic import Field, model_validator

from babylon_tasks.read_settings import EnvironmentSettings

LABELS = ("exact", "parent", "rescored", "none")  # of dataset/eligibility.py
GROUPINGS = ("scenario", "archetype", "decision", "market", "balance")


class LearningSettings(EnvironmentSettings):
    """Groups and steps, training, evaluation and promotion: a part of ``Settings``."""

    # groups
    group_by: str = "scenario,archetype,decision,market"
    """What trajectories must have in common to be compared, coarse to fine: `scenario`,
    `archetype`, `decision` (the kind of question), `market` (that the question names), `balance`
    (before the first step, in powers of two). Fewer names make fewer and larger sets to compare."""
    min_group_size: int = Field(default=8, ge=2)
    """If fewer trajectories than this share all of `BABYLON_GROUP_BY`, its last names are dropped
    for them one by one, but never scenario and archetype."""
    max_group_size: int = Field(default=16, ge=2)
    """The most trajectories in one group. More comparable ones make several groups. Lower it if
    one group exceeds the token budget or the memory."""
    min_reward_spread: float = Field(default=1e-3, ge=0)
    """A group whose rewards differ by no more than this teaches nothing and is left out."""
    max_staleness_steps: int = Field(default=8, ge=0)
    """Calls of a checkpoint more training steps than this away from the parent of the next step are
    refused as `stale`, unless it serves. Held checkpoints do not count."""
    max_staleness_hours: int = Field(default=168, ge=1)
    """An hour further behind the newest sealed one is not trained on; its left-over trajectories
    are refused as `stale`. Raise it to train on a backfill of older hours."""
    logprobs: str = "exact"
    """Which calls may be trained on, in order of preference: `exact` (recorded token by token), and
    with `cpu` also `parent`, `rescored`, `none`. A step uses one kind only; docs/recording.md
    explains them."""
    step_token_budget: int = Field(default=60_000, gt=0)
    """The most tokens in one step, prompts included; the first group is taken whatever its size.
    The rest of an hour is left over for later steps. Raise it to work off a backlog faster."""
    max_windows_per_step: int = Field(default=4, ge=1)
    """The most waiting hours that share a step. Raise it to work off a backlog faster."""

    # training
    learning_rate: float = Field(default=4e-4, gt=0)
    """The first learning rate."""
    final_learning_rate: float = Field(default=4e-5, ge=0)
    """The learning rate after the decay."""
    learning_rate_warmup_steps: int = Field(default=0, ge=0)
    """Steps over which the rate first rises. 0: none."""
    learning_rate_decay_steps: int = Field(default=60, ge=1)
    """Steps over which the rate falls linearly."""
    learning_rate_spread_power: float = Field(default=1.0, ge=0)
    """The rate is multiplied by the share of trajectories in groups with spread, to this power; 0
    disables this."""
    kl_coefficient: float = Field(default=0.05, ge=0)
    """The weight of the KL penalty towards the base model (`cpu` and `local`)."""
    packed_sequence_length: int = Field(default=2048, ge=64)
    """The longest call, prompt and answer together, in tokens (`cpu`); longer ones are refused as
    `too_long`. Packed rows are as long as a step's longest call needs; long rows need memory."""
    seed: int = 0
    """The seed of all randomness in training (`cpu`); it is part of a step's manifest."""

    # evaluation and promotion
    max_eval_groups: int = Field(default=16, ge=1)
    """The most held-out groups that checkpoints are compared on, the newest first."""
    min_eval_groups: int = Field(default=4, ge=1)
    """With fewer groups the checkpoint is held."""
    min_eval_coverage: float = Field(default=0.05, ge=0, le=1)
    """The smallest share of a policy's probability that recorded answers must cover for its
    value to count. Lower it only deliberately."""
    promote_entropy_weight: float = Field(default=0.1, ge=0)
    """The bonus for diverse answers in a checkpoint's objective, per nat. Raise it if policies
    settle on one answer."""
    promote_tolerance: float = Field(default=0.01, ge=0)
    """How much worse than the serving and the best checkpoint a new one may be and still be
    promoted."""
    promote_without_evaluation: bool = False
    """Promote without an evaluation, instead of holding. Needed for `serverless` and `local`, which
    cannot evaluate."""

    @model_validator(mode="after")
    def _learning(self) -> Self:
        if self.final_learning_rate > self.learning_rate:
            raise ValueError("BABYLON_FINAL_LEARNING_RATE exceeds BABYLON_LEARNING_RATE")
        if not set(self.grouping) <= set(GROUPINGS) or len(set(self.grouping)) < len(self.grouping):
            raise ValueError(
                f"BABYLON_GROUP_BY must list some of {', '.join(GROUPINGS)}, once each"
            )
        if not set(self.labels) <= set(LABELS) or len(set(self.labels)) < len(self.labels):
            raise ValueError(f"BABYLON_LOGPROBS must list some of {', '.join(LABELS)}, once each")
        if not self.labels:
            raise ValueError("BABYLON_LOGPROBS is empty: nothing could be trained on")
        if self.min_eval_groups > self.max_eval_groups:
            raise ValueError("BABYLON_MIN_EVAL_GROUPS exceeds BABYLON_MAX_EVAL_GROUPS")
        return self

    @property
    def grouping(self) -> tuple[str, ...]:
        """``group_by`` as names, coarse to fine."""
        return tuple(name.strip() for name in self.group_by.split(",") if name.strip())

    @property
    def labels(self) -> tuple[str, ...]:
        """``logprobs`` as labels, the preferred one first."""
        return tuple(name.strip() for name in self.logprobs.split(",") if name.strip())
