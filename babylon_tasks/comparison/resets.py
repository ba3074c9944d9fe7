"""What a conclusion leaves of a comparison's state: evidence that counts no longer is dropped."""

from __future__ import annotations

from msgspec.structs import replace

from babylon_tasks.comparison import metric
from babylon_tasks.comparison.conclusion import ComparisonState


def new_trial(state: ComparisonState) -> ComparisonState:
    """Drop the evidence of the trial."""
    guard = None if state.guard is None else metric.new_trial(state.guard)
    return replace(state, reward=metric.new_trial(state.reward), guard=guard, trial_windows=0)


def reset_harm(state: ComparisonState) -> ComparisonState:
    """Let the detectors begin again."""
    guard = None if state.guard is None else metric.reset_harm(state.guard)
    return replace(state, reward=metric.reset_harm(state.reward), guard=guard)
