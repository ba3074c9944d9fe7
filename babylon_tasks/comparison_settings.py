"""The settings of comparisons: whether they begin by themselves, and on which terms."""

from __future__ import annotations

from typing import Literal, Self

from pydantic import Field, model_validator

from babylon_tasks.read_settings import EnvironmentSettings

ProofName = Literal["examinee", "average"]  # of comparison/parameters.py


class ComparisonSettings(EnvironmentSettings):
    """A part of ``Settings``. A comparison keeps those with which it has begun."""

    compare: bool = True
    """Whether comparisons with an anchor begin by themselves, in modes `screened` and `proven`, as
    soon as enough agents ask the gateway with their names (docs/promotion.md). `babylon-tasks
    compare start` begins one in any case. All settings here apply to the next comparison."""
    anchor_model: str | None = None
    """The model that agents use today, by a name that a server of `BABYLON_GATEWAY_UPSTREAMS`
    lists: the anchor until a checkpoint is proven. Until there are enough agents for a ramp it
    answers all of them; then checkpoints get 5 %, and more on evidence."""
    ramp_budget: float = Field(default=2.0, gt=0)
    """The loss per agent, in units of the reward, at which a ramp is given up and `anchor_model`
    answers all agents again. At the floor of 5 %, a policy that is worse by 0.1 costs 0.5 in 100
    hours. Gains count against losses."""
    comparison_proof: ProofName = "examinee"
    """What can become the anchor: `examinee`, a frozen checkpoint with an arm of its own, or
    `average`, what serves, by its last day: where only two models can be served. It says less."""
    comparison_margin: float = Field(default=0.02, gt=0, lt=1)
    """By how much a new anchor may be worse than the old one, in units of the reward."""
    comparison_tolerance: float = Field(default=0.01, ge=0, lt=1)
    """By how much what serves may be worse than the anchor, for good; beyond that, it is rolled
    back."""
    comparison_alpha: float = Field(default=0.05, gt=0, lt=1)
    """The probability that a trial proves a checkpoint that is worse by the margin."""
    comparison_run_length: float = Field(default=1440, ge=24)
    """The fewest hours from one false rollback to the next, on average."""
    comparison_block: int | None = Field(default=None, ge=1, le=24)
    """How many hours trials, the slow detector and a ramp take as one, where what suits a policy in
    one hour suits it in the next. Without it: 1, 4 or 12, by what earlier trials show beyond
    chance. `babylon-tasks compare status` says when another comparison would take more than this
    one."""
    comparison_reward_lower: float = Field(default=0.0, ge=0, le=1)
    """An agent's mean reward in an hour counts as this at least."""
    comparison_reward_upper: float = Field(default=1.0, ge=0, le=1)
    """An agent's mean reward in an hour counts as this at most."""
    comparison_guard: bool = True
    """Whether the share of what can be scored is compared beside the reward, with detectors and a
    trial of its own."""

    @model_validator(mode="after")
    def _comparison(self) -> Self:
        if self.comparison_reward_lower >= self.comparison_reward_upper:
            raise ValueError(
                "BABYLON_COMPARISON_REWARD_LOWER must be below BABYLON_COMPARISON_REWARD_UPPER"
            )
        return self
