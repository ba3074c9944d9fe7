"""The rule: parameters, state and a finished window in; conclusion, new state and evidence out."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from datetime import timedelta
from math import log

import msgspec
from msgspec.structs import replace

from babylon_tasks.comparison import metric, missing, on_ramp, ramp
from babylon_tasks.comparison.conclusion import (
    Compared,
    ComparisonState,
    Conclusion,
    Shares,
)
from babylon_tasks.comparison.e_values import log_mean
from babylon_tasks.comparison.evidence import Detected, evidence, harm, hints, why_proven
from babylon_tasks.comparison.metric import Measured
from babylon_tasks.comparison.observed import ComparedWindow
from babylon_tasks.comparison.on_ramp import Ended
from babylon_tasks.comparison.parameters import ComparisonParameters, Proof
from babylon_tasks.comparison.ramp import RampStage, RampState
from babylon_tasks.comparison.resets import new_trial, reset_harm
from babylon_tasks.windows import window_start

_OFTEN = 1e6  # windows: nobody waits so long
# After these the windows that are under way still compare what was there before.
_CHANGES = frozenset(
    {
        Conclusion.ROLLBACK,
        Conclusion.ROLLBACK_AND_PAUSE,
        Conclusion.PROVEN,
        Conclusion.PROVEN_GAIN,
        Conclusion.TO_FLOOR,
    }
)
_encoder = msgspec.json.Encoder(order="sorted")


def begin(parameters: ComparisonParameters) -> ComparisonState:
    """Begin a comparison: no window yet."""
    return ComparisonState(
        metric.begin(parameters.reward),
        None if parameters.guard is None else metric.begin(parameters.guard),
        ramp=None if parameters.ramp is None else RampState(),
    )


def compare(
    parameters: ComparisonParameters, state: ComparisonState, window: ComparedWindow
) -> Compared:
    """Take in the next finished window; raises ValueError for one that is not later."""
    if window.window <= state.window:
        raise ValueError(
            f"window {window.window} is not later than {state.window}, the last one: a comparison "
            "takes each window once, in order; begin a new one to compare earlier windows"
        )
    state = replace(state, window=window.window, missing=missing.count(state.missing, window))
    if window.decided is not None and window.decided < state.changed:
        reason = f"its arms were drawn before the conclusion of {state.changed}"
        return _only_paid(parameters, state, window, Conclusion.KEEP, reason)
    if window.collapsed and on_ramp.may_leave(state):
        state = on_ramp.charge(parameters, state, window)
        ended = on_ramp.withdraw(parameters, state) or _take_out(
            parameters, state, window, window.collapsed
        )
        nothing = (Measured(), Measured())
        taken_out = _compared(parameters, state, harm(parameters, state), nothing, *ended)
        return replace(taken_out, collapsed=True)
    if window.complied < parameters.min_complied:
        reason = (
            f"only {window.complied:.0%} of the agents were answered by the model of their arm, "
            f"fewer than {parameters.min_complied:.0%}: see whether they reach the gateway"
        )
        return _only_paid(parameters, state, window, Conclusion.PAUSE_COMPARISON, reason)
    state, window = _on_trial(state, window)
    observed, seen, guarded = _observe(parameters, state, window)
    if seen.serving is None:
        reason = f"an arm has fewer than {parameters.min_arm} agents with a reward"
        return _only_paid(parameters, state, window, Conclusion.KEEP, reason, guarded)
    found = harm(parameters, observed)
    if not hints(parameters, found, seen, guarded):
        observed = replace(observed, quiet=window.window)
    live = seen.examinee is not None
    ended = _conclude(parameters, observed, window, found.together, live)
    return _compared(parameters, observed, found, (seen, guarded), *ended)


def _only_paid(
    parameters: ComparisonParameters,
    state: ComparisonState,
    window: ComparedWindow,
    conclusion: Conclusion,
    reason: str,
    guarded: Measured | None = None,
) -> Compared:
    """Take of a window that is no evidence what it has cost; nothing if no arm was answered."""
    if window.complied or window.collapsed:
        state = on_ramp.charge(parameters, state, window)
    ended = on_ramp.withdraw(parameters, state) or (conclusion, state, reason)
    measured = (Measured(), guarded or Measured())
    return _compared(parameters, state, harm(parameters, state), measured, *ended)


def _compared(
    parameters: ComparisonParameters,
    observed: ComparisonState,
    found: Detected,
    measured: tuple[Measured, Measured],
    conclusion: Conclusion,
    after: ComparisonState,
    reason: str,
) -> Compared:
    ends = observed.trial_windows > 0 and after.trial_windows == 0
    if ends:
        after = replace(after, ended=observed.examinee, examinee="")
    if conclusion in _CHANGES:
        after = replace(after, changed=observed.window)
    figures = evidence(parameters, observed, found, *measured, reason)
    return Compared(conclusion, after, figures, ends)


def shares(parameters: ComparisonParameters, state: ComparisonState, *, examinee: bool) -> Shares:
    """Choose the arms' shares for the next window; ``examinee``: there is one to be tried.

    While a ramp has not come to its end only what serves is tried, on the ramp's share.
    """
    on_trial = parameters.examinee_share if examinee else 0.0
    if state.ramp is None or parameters.ramp is None:
        return Shares(parameters.control_share, on_trial)
    control = 1 - state.ramp.share(parameters.ramp)
    return Shares(control, on_trial if state.ramp.stage is RampStage.FULL else 0.0)


def replay(
    parameters: ComparisonParameters, windows: Iterable[ComparedWindow]
) -> Iterator[Compared]:
    """Compare recorded windows again from the beginning: the same conclusions and figures."""
    state = begin(parameters)
    for window in windows:
        compared = compare(parameters, state, window)
        state = compared.state
        yield compared


def canonical(value: msgspec.Struct) -> bytes:
    """Write parameters, a state, a window or evidence as JSON: equal values, equal bytes."""
    return _encoder.encode(value)


def _on_trial(
    state: ComparisonState, window: ComparedWindow
) -> tuple[ComparisonState, ComparedWindow]:
    """Keep the evidence of one examinee from counting for another, or for one that is done."""
    if not window.examinee or window.examinee == state.examinee:
        return state, window
    if window.examinee != state.ended:
        return replace(new_trial(state), examinee=window.examinee), window
    reward, guard = (
        tuple(replace(one, examinee=None) for one in strata)
        for strata in (window.reward, window.guard)
    )
    return state, replace(window, reward=reward, guard=guard)


def _observe(
    parameters: ComparisonParameters, state: ComparisonState, window: ComparedWindow
) -> tuple[ComparisonState, Measured, Measured]:
    """Take in the window's figures; without a difference of the reward the state is of no use."""
    stage = None if state.ramp is None else state.ramp.stage
    reward, seen = metric.observe(
        state.reward, window.reward, parameters.reward, parameters, window.complied, stage
    )
    guard, guarded = state.guard, Measured()
    if guard is not None and parameters.guard is not None:
        guard, guarded = metric.observe(
            guard, window.guard, parameters.guard, parameters, window.complied, stage
        )
    tried = state.trial_windows + int(seen.examinee is not None)
    if missing.unequal(state.missing, parameters.max_missing) is not None:
        # It may look better or worse than it is. To be rolled back is safe, to be proven is not.
        reward, tried = metric.without_proof(reward, state.reward), state.trial_windows
        if guard is not None and state.guard is not None:
            guard = metric.without_proof(guard, state.guard)
    here = state.ramp
    if here is not None and parameters.ramp is not None and seen.serving is not None:
        here = ramp.pay(here, seen.serving, window.reward, parameters.ramp)
    if window.anchored:
        reward = replace(reward, average=state.reward.average)
        if guard is not None and state.guard is not None:
            guard = replace(guard, average=state.guard.average)
    state = replace(state, reward=reward, guard=guard, trial_windows=tried, ramp=here)
    return state, seen, guarded


def _conclude(
    parameters: ComparisonParameters,
    state: ComparisonState,
    window: ComparedWindow,
    found: float,
    live: bool,
) -> Ended:
    """Order: harm, then proof, then whether the trial goes on."""
    here, given = state.ramp, parameters.ramp
    spent = on_ramp.withdraw(parameters, state)
    if spent is not None:
        return spent
    if here is None or given is None:
        if found >= parameters.run_length:
            return _take_out(parameters, state, window, _why_harmful(state, found))
    elif ramp.falls(here, state.metrics, given) or (
        here.stage is not RampStage.FLOOR and found >= parameters.run_length
    ):
        why = "the policy is worse than the model that agents used"
        return _take_out(parameters, state, window, why)
    arm = missing.unequal(state.missing, parameters.max_missing)
    if arm is not None:
        reason = (
            f"the {arm} and the control arm have rewards for shares of their agents that differ "
            f"by more than {parameters.max_missing:.0%}: see why outcomes are missing"
        )
        return Conclusion.PAUSE_COMPARISON, state, reason
    if here and given and ramp.rises(here, state.metrics, given, parameters.block):
        return on_ramp.rise(state, here, given)
    if _can_prove(parameters, state, live, anchored=window.anchored):
        proven = _prove(parameters, state)
        if proven is not None:
            return proven
    if live:
        least = log(1 / parameters.alpha)
        if any(log_mean(one.trial.worse) >= least for one in state.metrics):
            reason = "the examinee is worse than the anchor"
            return Conclusion.NEXT_EXAMINEE, new_trial(state), reason
        if state.trial_windows >= parameters.max_windows:
            reason = f"nothing was proven in {state.trial_windows} windows"
            return Conclusion.NEXT_EXAMINEE, new_trial(state), reason
    return Conclusion.KEEP, state, "nothing is shown yet"


def _why_harmful(state: ComparisonState, found: float) -> str:
    return (
        f"what serves is worse than the anchor: the windows after {state.quiet or 'the first'} "
        f"would be seen by chance once in {min(found, _OFTEN):,.0f} windows"
    )


def _take_out(
    parameters: ComparisonParameters, state: ComparisonState, window: ComparedWindow, reason: str
) -> Ended:
    """Roll back what serves; on a ramp, send it to the floor."""
    if state.ramp is not None:
        down = replace(reset_harm(state), ramp=RampState(loss=state.ramp.loss))
        return Conclusion.TO_FLOOR, down, reason
    since = window_start(window.window) - timedelta(hours=parameters.rollback_hours)
    counted = tuple(one for one in state.rollbacks if window_start(one) > since)
    rollbacks = (*counted, window.window)
    trial = state.reward.trial
    if window.discards_examinee and log_mean(trial.worse) > log_mean(trial.margin):
        state = new_trial(state)
    state = replace(reset_harm(state), rollbacks=rollbacks)
    if len(rollbacks) < parameters.max_rollbacks:
        return Conclusion.ROLLBACK, state, reason
    often = f"{reason}; {len(rollbacks)} rollbacks in {parameters.rollback_hours} h"
    return Conclusion.ROLLBACK_AND_PAUSE, state, often


def _can_prove(
    parameters: ComparisonParameters, state: ComparisonState, live: bool, *, anchored: bool
) -> bool:
    if state.ramp is not None and state.ramp.stage is not RampStage.FULL:
        return False
    if parameters.proof is Proof.AVERAGE:
        windows = state.reward.average.count * parameters.block
        return windows >= parameters.min_windows and not anchored
    return live and state.trial_windows >= parameters.min_windows


def _prove(parameters: ComparisonParameters, state: ComparisonState) -> Ended | None:
    moves, gain = metric.proves(state.reward, parameters.reward, parameters)
    guarded = gained = True
    if state.guard is not None and parameters.guard is not None:
        guarded, gained = metric.proves(state.guard, parameters.guard, parameters)
    if not (moves and guarded):
        return None
    after = replace(
        state,
        reward=metric.new_anchor(state.reward, gain=gain),
        guard=None if state.guard is None else metric.new_anchor(state.guard, gain=gained),
        trial_windows=0,
    )
    reason = why_proven(parameters, state.reward, gain=gain)
    return Conclusion.PROVEN_GAIN if gain else Conclusion.PROVEN, after, reason
