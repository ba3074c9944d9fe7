"""On which terms a comparison begins, and why it cannot begin by itself.

PURE.
"""

from __future__ import annotations

from collections.abc import Sequence
from enum import StrEnum

from msgspec import Struct

from babylon_tasks.comparison.agents import AskingAgents
from babylon_tasks.comparison.blocks import block_for
from babylon_tasks.comparison.parameters import (
    ComparisonParameters,
    MetricParameters,
    Proof,
    Ramp,
    control_share,
    floor_share,
)
from babylon_tasks.registry.promotion_modes import PromotionMode
from babylon_tasks.settings import Settings

_DEFAULTS = ComparisonParameters()


class ComparisonLack(StrEnum):
    """Why no comparison can begin by itself: a label of a metric."""

    OFF = "off"
    NO_REWARDS = "no_rewards"
    NO_CALLS = "no_calls"
    NO_NAMES = "no_names"
    OTHER_MODELS = "other_models"
    TOO_FEW_AGENTS = "too_few_agents"
    TOO_FEW_ASK = "too_few_ask"


class Impediment(Struct, frozen=True):
    """Why nothing can be compared, in words, and what to do."""

    lack: ComparisonLack
    text: str
    todo: str


def terms(
    settings: Settings, agents: int, trials: Sequence[Sequence[float]], *, external: bool
) -> ComparisonParameters:
    """Choose the parameters for a number of agents; ``external``: the anchor is not ours.

    ``trials``: the examinees' differences in earlier comparisons, as for ``block_for``.
    """
    reward = MetricParameters(
        lower=settings.comparison_reward_lower,
        upper=settings.comparison_reward_upper,
        margin=settings.comparison_margin,
        tolerance=settings.comparison_tolerance,
    )
    share = control_share(agents)
    stages = Ramp().shares
    return ComparisonParameters(
        reward=reward,
        guard=MetricParameters() if settings.comparison_guard else None,
        proof=Proof(settings.comparison_proof),
        control_share=share,
        examinee_share=share,
        alpha=settings.comparison_alpha,
        run_length=settings.comparison_run_length,
        block=settings.comparison_block or block_for(trials, reward.hour),
        ramp=Ramp(shares=(floor_share(agents), *stages[1:]), budget=settings.ramp_budget)
        if external
        else None,
    )


def too_few(agents: int) -> str | None:
    """Say why so many agents are too few for arms; None where they suffice."""
    share, least = control_share(agents), _DEFAULTS.min_arm
    if agents * share >= least:
        return None
    return f"{share:.0%} of {agents} agents are too few for an arm (at least {least})"


def begins_by_itself(mode: PromotionMode) -> bool:
    """Check whether comparisons belong to the mode; in the others they are begun by hand."""
    return mode in (PromotionMode.SCREENED, PromotionMode.PROVEN)


def impediment(settings: Settings, agents: AskingAgents) -> Impediment | None:
    """Say why no comparison can begin; None where one can."""
    if not settings.compare:
        why = "BABYLON_COMPARE=false: no comparison begins by itself"
        return Impediment(
            ComparisonLack.OFF, why, "set it to true, or `babylon-tasks compare start`"
        )
    if agents.window is None:
        why, todo = "no hour has rewards yet", "wait for the first scored hour"
        return Impediment(ComparisonLack.NO_REWARDS, why, todo)
    where, lineage = f"in {agents.window}", settings.lineage
    if not agents.calls:
        return Impediment(
            ComparisonLack.NO_CALLS,
            f"the gateway captured no call {where}: agents do not ask it",
            "let agents ask the gateway (docs/gateway.md), and see that it runs",
        )
    if not agents.asking and agents.unnamed >= max(1, agents.elsewhere):
        return Impediment(
            ComparisonLack.NO_NAMES,
            f"agents asked the gateway without their names {where}, so they are in no arm",
            "let each name itself, or set BABYLON_GATEWAY_AGENT_PATTERN (docs/gateway.md)",
        )
    if not agents.asking and agents.elsewhere:
        return Impediment(
            ComparisonLack.OTHER_MODELS,
            f"agents asked for other models by name {where}, and none with a reward for {lineage}",
            f"let them ask for the model {lineage}: its arms choose what answers",
        )
    why_few = too_few(agents.asking)
    if why_few is not None:
        return Impediment(
            ComparisonLack.TOO_FEW_AGENTS,
            f"{agents.asking} agents with rewards asked for {lineage} with their names {where}, "
            f"and {why_few}",
            "run more agents, or see that each names itself as in Babylon's rows",
        )
    if agents.asking < _DEFAULTS.min_complied * agents.rewarded:
        return Impediment(
            ComparisonLack.TOO_FEW_ASK,
            f"only {agents.asking} of {agents.rewarded} agents with rewards asked for {lineage} "
            f"with their names {where}: an hour with fewer than {_DEFAULTS.min_complied:.0%} is "
            "no evidence",
            "let all agents ask the gateway with their names",
        )
    return None
