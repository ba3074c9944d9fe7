"""The figures behind a conclusion, as they are stored with it."""

from __future__ import annotations

from math import exp
from statistics import fmean

from msgspec import Struct

from babylon_tasks.comparison import average, metric
from babylon_tasks.comparison.conclusion import (
    HINT,
    ComparisonEvidence,
    ComparisonState,
    MetricEvidence,
)
from babylon_tasks.comparison.e_values import Logs, log_mean
from babylon_tasks.comparison.metric import Measured, MetricState
from babylon_tasks.comparison.parameters import ComparisonParameters, Proof

_LOWER = 0.5  # standard deviations
_LARGEST = 700.0  # whose exp is finite


class Detected(Struct, frozen=True):
    """How far the detectors have come, in windows to a false alarm: of the reward, of the guard."""

    reward: tuple[float, ...]
    guard: tuple[float, ...] = ()

    @property
    def together(self) -> float:
        """Return their mean, which alarms.

        Each grows by at most 1 a window on average without harm, so it does, however many they
        are. An alarm by the largest would need a higher threshold for the same promise.
        """
        return fmean((*self.reward, *self.guard))


def harm(parameters: ComparisonParameters, state: ComparisonState) -> Detected:
    """Read the detectors."""
    reward = metric.harm_windows(state.reward, parameters.reward, parameters.block)
    if state.guard is None or parameters.guard is None:
        return Detected(reward)
    return Detected(reward, metric.harm_windows(state.guard, parameters.guard, parameters.block))


def hints(parameters: ComparisonParameters, found: Detected, *measured: Measured) -> bool:
    """Find whether a window hints at harm: by a detector, or by a difference of its own.

    By the detectors alone the first hours of a fall do not: they need some to see it.
    """
    return found.together >= HINT * parameters.run_length or any(
        one.serving is not None and one.serving < -_LOWER * (one.serving_deviation or 0.0)
        for one in measured
    )


def evidence(
    parameters: ComparisonParameters,
    state: ComparisonState,
    found: Detected,
    seen: Measured,
    guarded: Measured,
    reason: str,
) -> ComparisonEvidence:
    """Collect the figures."""
    guard = None
    if state.guard is not None and parameters.guard is not None:
        guard = _of_metric(parameters, state.guard, found.guard, guarded)
    return ComparisonEvidence(
        reason,
        found.together,
        parameters.run_length,
        state.quiet,
        state.trial_windows,
        _of_metric(parameters, state.reward, found.reward, seen),
        guard,
        state.ramp,
    )


def e_value(logs: Logs) -> float:
    """Compute an e-value as it is compared with 1 / alpha."""
    return exp(min(log_mean(logs), _LARGEST))


def why_proven(parameters: ComparisonParameters, state: MetricState, *, gain: bool) -> str:
    """Say what was proven of the reward, and by which figure: an average has no e-values."""
    trial, margin = state.trial, parameters.reward.margin
    figure = f"e-value {e_value(trial.gain if gain else trial.margin):.3g}"
    if parameters.proof is Proof.AVERAGE:
        bound = average.lower_bound(state.average, parameters.alpha)
        margin = average.margin(state.average)
        figure = f"lower bound of the average difference {bound:+.3g}"
    if gain:
        return f"better than the anchor: {figure}"
    return f"not worse than the anchor by {margin:.3g}: {figure}"


def _of_metric(
    parameters: ComparisonParameters,
    state: MetricState,
    detectors: tuple[float, ...],
    measured: Measured,
) -> MetricEvidence:
    bound = None
    if parameters.proof is Proof.AVERAGE and state.average.count:
        bound = average.lower_bound(state.average, parameters.alpha)
    return MetricEvidence(
        measured,
        detectors,
        e_value(state.trial.margin),
        e_value(state.trial.gain),
        e_value(state.trial.worse),
        state.plain,
        bound,
    )
