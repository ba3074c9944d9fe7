"""The figures behind a conclusion, as they are stored with it."""

from __future__ import annotations

from math import exp
from statistics import fmean

from babylon_tasks.comparison import average, metric
from babylon_tasks.comparison.conclusion import (
    ComparisonEvidence,
    ComparisonState,
    MetricEvidence,
)
from babylon_tasks.comparison.e_values import Logs, log_mean
from babylon_tasks.comparison.metric import Measured, MetricState
from babylon_tasks.comparison.parameters import ComparisonParameters, MetricParameters, Proof

_LARGEST = 700.0  # whose exp is finite


def harm(parameters: ComparisonParameters, state: ComparisonState) -> float:
    """Compute how far the detectors have come together, in windows to a false rollback.

    Each grows by at most 1 a window on average without harm, so their mean does, however many
    there are. An alarm by the largest would need a higher threshold for the same promise.
    """
    found = metric.harm_windows(state.reward, parameters.reward, parameters.block)
    if state.guard is not None and parameters.guard is not None:
        found += metric.harm_windows(state.guard, parameters.guard, parameters.block)
    return fmean(found)


def evidence(
    parameters: ComparisonParameters,
    state: ComparisonState,
    seen: Measured,
    guarded: Measured,
    reason: str,
) -> ComparisonEvidence:
    """Collect the figures."""
    guard = None
    if state.guard is not None and parameters.guard is not None:
        guard = _of_metric(parameters, state.guard, parameters.guard, guarded)
    return ComparisonEvidence(
        reason,
        harm(parameters, state),
        parameters.run_length,
        state.quiet,
        state.trial_windows,
        _of_metric(parameters, state.reward, parameters.reward, seen),
        guard,
        state.ramp,
    )


def e_value(logs: Logs) -> float:
    """Compute an e-value as it is compared with 1 / alpha."""
    return exp(min(log_mean(logs), _LARGEST))


def _of_metric(
    parameters: ComparisonParameters,
    state: MetricState,
    given: MetricParameters,
    measured: Measured,
) -> MetricEvidence:
    bound = None
    if parameters.proof is Proof.AVERAGE and state.average.count:
        bound = average.lower_bound(state.average, parameters.alpha)
    return MetricEvidence(
        measured,
        tuple(metric.harm_windows(state, given, parameters.block)),
        e_value(state.trial.margin),
        e_value(state.trial.gain),
        e_value(state.trial.worse),
        state.plain,
        bound,
    )
