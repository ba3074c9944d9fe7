"""What a window does to a policy on a ramp: its share rises, it pays, or it is withdrawn."""

from __future__ import annotations

from msgspec.structs import replace

from babylon_tasks.arms import Arm
from babylon_tasks.comparison.conclusion import ComparisonState, Conclusion
from babylon_tasks.comparison.contrast import contrast
from babylon_tasks.comparison.observed import ComparedWindow
from babylon_tasks.comparison.parameters import ComparisonParameters, Ramp
from babylon_tasks.comparison.ramp import RampStage, RampState, pay
from babylon_tasks.comparison.resets import reset_harm

Ended = tuple[Conclusion, ComparisonState, str]  # the state after it, and why


def may_leave(state: ComparisonState) -> bool:
    """Check whether less than what serves has is possible: the floor of a ramp is the least."""
    return state.ramp is None or (
        state.ramp.stage is not RampStage.FLOOR and not state.ramp.withdrawn
    )


def charge(
    parameters: ComparisonParameters, state: ComparisonState, window: ComparedWindow
) -> ComparisonState:
    """Count what a window has cost that is no evidence: agents have lost it all the same.

    Arms are drawn at random, so their difference is what was lost, whoever was answered otherwise.
    Where an arm has no agent with a reward it is not known.
    """
    here, given = state.ramp, parameters.ramp
    found = contrast(window.reward, Arm.SERVING, 0.0, 1)
    if here is None or given is None or found is None:
        return state
    paid = pay(here, found.difference, window.reward, given)
    return replace(state, ramp=replace(paid, windows=here.windows))


def withdraw(parameters: ComparisonParameters, state: ComparisonState) -> Ended | None:
    """End the comparison if the policy has spent its budget."""
    here, given = state.ramp, parameters.ramp
    if here is None or given is None or not here.withdrawn:
        return None
    lost = f"the policy has cost {here.loss:.3g} per agent, the budget is {given.budget:g}"
    return Conclusion.WITHDRAW, state, lost


def rise(state: ComparisonState, here: RampState, given: Ramp) -> Ended:
    """Give the policy the share of the next stage."""
    above = RampStage(here.stage + 1)
    # What is shown above the floor is shown since it was left: by all windows from there on.
    up = reset_harm(state) if here.stage is RampStage.FLOOR else state
    up = replace(up, ramp=RampState(above, 0, here.loss))
    reason = f"not worse by the margin: the share rises to {given.shares[above]:.0%}"
    return Conclusion.RISE, up, reason
