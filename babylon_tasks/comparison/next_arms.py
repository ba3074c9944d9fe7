"""The arms of the hours to come, as a comparison's state has them. Pure."""

from __future__ import annotations

from msgspec import Struct, structs

from babylon_tasks.arms import Arms
from babylon_tasks.comparison import rule
from babylon_tasks.comparison.conclusion import ComparisonState
from babylon_tasks.comparison.parameters import ComparisonParameters, Proof
from babylon_tasks.comparison.ramp import RampStage


class Anchor(Struct, frozen=True):
    """What the control arm gets: a checkpoint, or a model of another server."""

    step: int | None = None
    model: str | None = None


def anchor_of(arms: Arms) -> Anchor | None:
    """Return the anchor; None where the control arm was ended."""
    if arms.control_step is None and arms.control_model is None:
        return None
    return Anchor(arms.control_step, arms.control_model)


def has_trials(parameters: ComparisonParameters, state: ComparisonState) -> bool:
    """Check whether a checkpoint may be on trial: not before a ramp has come to its end."""
    if parameters.proof is not Proof.EXAMINEE:
        return False
    return state.ramp is None or state.ramp.stage is RampStage.FULL


def next_arms(
    parameters: ComparisonParameters,
    state: ComparisonState,
    drawn: Arms,
    anchor: Anchor,
    examinee: int | None,
    from_window: str,
) -> Arms:
    """Draw up the arms from an hour on, with the salt of those that were ``drawn`` last."""
    shares = rule.shares(parameters, state, examinee=examinee is not None)
    return structs.replace(
        drawn,
        from_window=from_window,
        control_share=shares.control,
        control_step=anchor.step,
        control_model=anchor.model,
        examinee_share=shares.examinee,
        examinee_step=examinee if shares.examinee else None,
    )
