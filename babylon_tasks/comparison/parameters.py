"""The parameters of a comparison: chosen when it begins, and the same to its end."""

from __future__ import annotations

from enum import StrEnum
from typing import Annotated

from msgspec import Meta, Struct

_Share = Annotated[float, Meta(ge=0, le=1)]
_Positive = Annotated[float, Meta(gt=0)]
_NotNegative = Annotated[float, Meta(ge=0)]
_Count = Annotated[int, Meta(ge=1)]

VERSION = 1  # of the rule: another one would conclude something else from the same windows
_FEW_AGENTS, _MANY_AGENTS = 100, 2000


class Proof(StrEnum):
    """What can become the anchor."""

    EXAMINEE = "examinee"  # a frozen checkpoint with an arm of its own
    AVERAGE = "average"  # what serves, by its last day: where only two models can be served


class MetricParameters(Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """How the reward, or the guard metric, is compared; in the metric's own unit.

    ``lower`` and ``upper``: each agent's value is clipped to them, whatever the data are.
    ``margin``: what a new anchor may be worse by. ``tolerance``: what serves may be, for good.
    ``collapse``: a fall beyond it is found within hours; None: not looked for, as for a metric
    whose values have heavy tails. ``hour``: the standard deviation of what an hour does to the
    difference of two arms. ``deviation``: of one agent's value in an hour, until it is known.
    ``max_plain``: new anchors in a row without a proven gain.
    """

    lower: float = 0.0
    upper: float = 1.0
    margin: _Positive = 0.02
    tolerance: _NotNegative = 0.01
    collapse: _NotNegative | None = 0.04
    hour: _Positive = 0.02
    deviation: _Positive = 0.25
    max_plain: Annotated[int, Meta(ge=0)] = 3


class Ramp(Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """How the policy's share grows while the anchor is the model that agents used before.

    ``shares``: of the floor and of the stages above it. ``evidence``: what each rise takes: at
    the floor windows (a false rise once in so many, on average), above it an e-value.
    ``budget``: the loss per agent, in units of the reward, at which the policy is withdrawn.
    """

    shares: tuple[_Share, _Share, _Share, _Share] = (0.05, 0.2, 0.5, 0.9)
    evidence: tuple[_Positive, _Positive, _Positive] = (100.0, 5.0, 20.0)
    min_windows: _Count = 3
    tolerance: _NotNegative = 0.005
    fall: _Positive = 20.0
    budget: _Positive = 2.0


class ComparisonParameters(Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """All that decides beside the windows.

    ``alpha``: the probability that a trial proves a checkpoint that is worse by the margin.
    ``run_length``: windows to a false rollback, on average at least. ``block``: windows that the
    trial and the slow detector take as one, where hours are alike (``blocks.block_for``).
    ``max_rollbacks`` within ``rollback_hours`` pause the training. ``ramp`` is for an external
    anchor. ``version`` is that of the rule.
    """

    reward: MetricParameters = MetricParameters()
    guard: MetricParameters | None = None
    proof: Proof = Proof.EXAMINEE
    control_share: _Share = 0.1
    examinee_share: _Share = 0.1
    alpha: Annotated[float, Meta(gt=0, lt=1)] = 0.05
    run_length: _Positive = 1440.0
    min_arm: _Count = 5
    min_windows: _Count = 12
    max_windows: _Count = 168
    max_rollbacks: _Count = 3
    rollback_hours: _Count = 168
    min_complied: Annotated[float, Meta(gt=0.5, le=1)] = 0.9
    max_missing: _Share = 0.05
    block: _Count = 1
    ramp: Ramp | None = None
    version: int = VERSION

    def __post_init__(self) -> None:
        """Refuse what contradicts itself, or is of another rule; raises ValueError."""
        if self.version != VERSION:
            raise ValueError(
                f"the comparison was begun by version {self.version} of the rule, and this is "
                f"version {VERSION}: end it and begin a new one"
            )
        for name, metric in (("reward", self.reward), ("guard", self.guard)):
            if metric is not None and metric.lower >= metric.upper:
                raise ValueError(
                    f"the {name} cannot lie between {metric.lower:g} and {metric.upper:g}: "
                    "give it a lower bound that is below the upper one"
                )
        if self.control_share + self.examinee_share >= 1:
            raise ValueError(
                f"control {self.control_share:.0%} and examinee {self.examinee_share:.0%} leave no "
                "agents to what serves: lower one of the shares"
            )
        if self.ramp is not None and list(self.ramp.shares) != sorted(self.ramp.shares):
            raise ValueError(f"the shares of a ramp must rise, and {self.ramp.shares} do not")


def control_share(agents: int) -> float:
    """Choose the share of the control arm, and of the examinee's, for a number of agents."""
    if agents < _FEW_AGENTS:
        return 0.2
    return 0.05 if agents > _MANY_AGENTS else 0.1


def floor_share(agents: int) -> float:
    """Choose the share at the floor of a ramp: 5 %, or 5 agents."""
    return min(0.2, max(0.05, 5 / max(agents, 1)))
