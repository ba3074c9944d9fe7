"""What is known of one metric: the reward, or the guard.

Two questions, two instruments. Is what serves harmful now? It moves, so that is detected, with an
error per time. Is the examinee as good as the anchor? Both are frozen, so that is tested.
"""

from __future__ import annotations

from math import log, sqrt

from msgspec import Struct
from msgspec.structs import replace

from babylon_tasks.arms import Arm
from babylon_tasks.comparison import average, spread
from babylon_tasks.comparison.average import Average
from babylon_tasks.comparison.contrast import Contrast, combine, contrast
from babylon_tasks.comparison.e_values import (
    ZERO,
    Logs,
    bet,
    fall,
    log_mean,
    multiply,
    restart,
    windows,
)
from babylon_tasks.comparison.observed import Stratum
from babylon_tasks.comparison.parameters import ComparisonParameters, MetricParameters, Proof
from babylon_tasks.comparison.spread import Spread

# Of the fast detector, on how much an hour can do: its noise must be no wider than assumed.
_WIDER = 1.5


class Harm(Struct, frozen=True, forbid_unknown_fields=True):
    """The detectors of harm, as log(1 + R)."""

    slow: Logs = ZERO
    fast: Logs = ZERO


class Trial(Struct, frozen=True, forbid_unknown_fields=True):
    """Log e-values against: worse than the anchor by the margin; no better; no worse."""

    margin: Logs = ZERO
    gain: Logs = ZERO
    worse: Logs = ZERO


class Climb(Struct, frozen=True, forbid_unknown_fields=True):
    """For a ramp: log(1 + R) for "not worse by the margin", and e-values since the floor."""

    floor: Logs = ZERO
    margin: Logs = ZERO
    worse: Logs = ZERO


class MetricState(Struct, frozen=True, forbid_unknown_fields=True):
    """All that one metric's windows have left; ``plain``: anchors in a row without a gain.

    ``serving`` and ``examinee`` are the windows of a block that is not full yet.
    """

    spread: Spread
    harm: Harm = Harm()
    trial: Trial = Trial()
    average: Average = Average()
    climb: Climb = Climb()
    plain: int = 0
    serving: tuple[Contrast, ...] = ()
    examinee: tuple[Contrast, ...] = ()


class Measured(Struct, frozen=True):
    """The differences of one window, each with its standard deviation; None: too few agents."""

    serving: float | None = None
    serving_deviation: float | None = None
    examinee: float | None = None
    examinee_deviation: float | None = None


def begin(metric: MetricParameters) -> MetricState:
    """Begin without evidence."""
    return MetricState(spread.prior(metric.deviation))


def observe(
    state: MetricState,
    strata: tuple[Stratum, ...],
    metric: MetricParameters,
    parameters: ComparisonParameters,
    complied: float,
    stage: int | None,
) -> tuple[MetricState, Measured]:
    """Take in one window's differences; ``stage`` is that of a ramp."""
    slope, left = spread.adjustment(state.spread, strata)
    hour = metric.hour**2
    serving = contrast(strata, Arm.SERVING, slope, parameters.min_arm)
    if serving is None:
        return state, Measured()
    examinee = contrast(strata, Arm.EXAMINEE, slope, parameters.min_arm)
    margin = metric.margin * (2 * complied - 1)  # who got another model dilutes a difference
    tolerance = metric.tolerance if parameters.ramp is None else parameters.ramp.tolerance
    harm, trial, climb, recent = state.harm, state.trial, state.climb, state.average
    at_floor = stage == 0
    if metric.collapse is not None and not at_floor:
        wide = left / serving.size + _WIDER**2 * hour
        # What may be lower for good is no collapse.
        factor = fall(serving.difference, -max(metric.collapse, tolerance), wide)
        harm = replace(harm, fast=restart(harm.fast, factor))
    block, rest = _fill(state.serving, serving, parameters.block)
    if block is not None:
        d, v = block.difference, left / block.size + hour
        if not at_floor:
            harm = replace(harm, slow=restart(harm.slow, bet(d, -tolerance, v, -1)))
        if stage is not None:
            climb = _climb(climb, d, margin, v, at_floor)
        recent = average.add(recent, d, margin, v, parameters.block)
    on_trial = state.examinee
    if examinee is not None:
        block, on_trial = _fill(state.examinee, examinee, parameters.block)
        if block is not None:
            trial = _try(trial, block.difference, margin, left / block.size + hour)
    state = replace(
        state,
        spread=spread.learn(state.spread, strata),
        harm=harm,
        trial=trial,
        climb=climb,
        average=recent,
        serving=rest,
        examinee=on_trial,
    )
    return state, _measured(serving, examinee, left, hour)


def harm_windows(state: MetricState, metric: MetricParameters, block: int) -> tuple[float, ...]:
    """Compute how far each detector has come, in windows to a false alarm.

    Each grows by at most 1 a window on average without harm, and so does their mean.
    """
    slow = windows(state.harm.slow) * block
    return (slow,) if metric.collapse is None else (slow, windows(state.harm.fast))


def proves(
    state: MetricState, metric: MetricParameters, parameters: ComparisonParameters
) -> tuple[bool, bool]:
    """Find whether the metric lets the anchor move, and whether with a proven gain."""
    if parameters.proof is Proof.AVERAGE:
        bound = average.lower_bound(state.average, parameters.alpha)
        gain, plain = bound >= 0, bound >= -average.margin(state.average)
    else:
        least = log(1 / parameters.alpha)
        gain = log_mean(state.trial.gain) >= least
        plain = log_mean(state.trial.margin) >= least
    return gain or (plain and state.plain < metric.max_plain), gain


def without_proof(state: MetricState, before: MetricState) -> MetricState:
    """Take a window's harm and spread only, where it proves nothing."""
    return replace(
        state,
        trial=before.trial,
        examinee=before.examinee,
        average=before.average,
        climb=before.climb,
    )


def new_anchor(state: MetricState, *, gain: bool) -> MetricState:
    """Forget what was said of the old anchor; the spread is the agents'."""
    plain = 0 if gain else state.plain + 1
    return MetricState(state.spread, plain=plain)


def new_trial(state: MetricState) -> MetricState:
    """Forget the examinee."""
    return replace(state, trial=Trial(), examinee=())


def reset_harm(state: MetricState) -> MetricState:
    """Begin the detectors anew, for other weights."""
    return replace(state, harm=Harm(), average=Average(), climb=Climb(), serving=())


def _fill(
    begun: tuple[Contrast, ...], one: Contrast, block: int
) -> tuple[Contrast | None, tuple[Contrast, ...]]:
    """Add a window to a block: the block's contrast once it is full, and what is kept."""
    begun = (*begun, one)
    return (combine(begun), ()) if len(begun) >= block else (None, begun)


def _try(trial: Trial, d: float, margin: float, v: float) -> Trial:
    return Trial(
        multiply(trial.margin, bet(d, -margin, v, 1)),
        multiply(trial.gain, bet(d, 0.0, v, 1)),
        multiply(trial.worse, bet(d, 0.0, v, -1)),
    )


def _climb(climb: Climb, d: float, margin: float, v: float, at_floor: bool) -> Climb:
    better = bet(d, -margin, v, 1)
    if at_floor:
        return replace(climb, floor=restart(climb.floor, better))
    worse = multiply(climb.worse, bet(d, 0.0, v, -1))
    return replace(climb, margin=multiply(climb.margin, better), worse=worse)


def _measured(serving: Contrast, examinee: Contrast | None, left: float, hour: float) -> Measured:
    if examinee is None:
        return Measured(serving.difference, sqrt(left / serving.size + hour))
    return Measured(
        serving.difference,
        sqrt(left / serving.size + hour),
        examinee.difference,
        sqrt(left / examinee.size + hour),
    )
