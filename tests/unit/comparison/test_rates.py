"""How often the rule errs, over seeded paths, against what it promises.

Everything is at the edge of what is called harmless or good enough, where errors are most likely.
"""

from __future__ import annotations

import random
from collections.abc import Callable
from math import sqrt
from statistics import fmean, stdev

import pytest
from compared_windows import Crowd, heavy, skewed
from msgspec.structs import replace

from babylon_tasks.comparison.conclusion import Conclusion
from babylon_tasks.comparison.parameters import (
    ComparisonParameters,
    MetricParameters,
    Proof,
    Ramp,
)
from babylon_tasks.comparison.ramp import RampStage, RampState
from babylon_tasks.comparison.rule import begin, compare

PROVEN = {Conclusion.PROVEN, Conclusion.PROVEN_GAIN}


def at_most(count: int, paths: int, rate: float) -> bool:
    """Whether a count is within three standard errors of a rate."""
    return count / paths <= rate + 3 * sqrt(rate * (1 - rate) / paths)


def test_8_the_false_decisions_of_2000_paths_are_as_few_as_promised() -> None:
    """An examinee that is worse by the margin; and what serves is worse by the tolerance."""
    parameters = ComparisonParameters()
    metric = parameters.reward
    paths, hours = 2000, 48
    proven = rolled_back = 0
    for seed in range(paths):
        crowd = Crowd(random.Random(seed))
        state, examinee = begin(parameters), -metric.margin
        on_trial: float | None = examinee
        for _ in range(hours):
            found = compare(parameters, state, crowd.window(-metric.tolerance, on_trial))
            state = found.state
            proven += found.conclusion in PROVEN
            if found.ends_trial:
                on_trial = None
            if found.conclusion is Conclusion.ROLLBACK:
                rolled_back += 1
                break
    assert at_most(proven, paths, parameters.alpha)
    assert at_most(rolled_back, paths, hours / parameters.run_length)
    # A rule that never decides would pass, too.
    assert proven + rolled_back > 10


def lengths(
    parameters: ComparisonParameters,
    paths: int,
    noise: Callable[[random.Random], Callable[[], float]] | None = None,
) -> list[int]:
    """Windows to a false rollback, each path from its own seed."""
    found = []
    for seed in range(paths):
        draw = random.Random(seed)
        crowd = Crowd(draw, noise=None if noise is None else noise(draw))
        state, length = begin(parameters), 0
        while True:
            length += 1
            one = compare(parameters, state, crowd.window(-parameters.reward.tolerance))
            if one.conclusion is Conclusion.ROLLBACK:
                break
            state = one.state
        found.append(length)
    return found


# A run of 1440 windows takes long to simulate, and nothing in the promise depends on the number.
SHORT = ComparisonParameters(run_length=60)
SLOW = ComparisonParameters(run_length=60, reward=MetricParameters(collapse=None))


@pytest.mark.parametrize(("parameters", "noise"), [(SHORT, None), (SLOW, skewed), (SLOW, heavy)])
def test_8_false_rollbacks_are_as_far_apart_as_promised(
    parameters: ComparisonParameters,
    noise: Callable[[random.Random], Callable[[], float]] | None,
) -> None:
    found = lengths(parameters, 150, noise)
    assert fmean(found) >= parameters.run_length - 3 * stdev(found) / sqrt(len(found))
    for hours in (10, 20, 40):
        early = sum(one <= hours for one in found)
        assert at_most(early, len(found), hours / parameters.run_length)


def test_15_a_policy_that_is_worse_by_the_margin_rises_as_seldom_as_promised() -> None:
    """Off the floor once in 100 windows; then to half of the agents 1 in 5, to most 1 in 20."""
    given = Ramp(budget=1e9)
    parameters = ComparisonParameters(ramp=given)
    inferior, paths = -parameters.reward.margin, 1000
    waits, halves, most = [], 0, 0
    for seed in range(paths):
        crowd = Crowd(random.Random(seed))
        state = replace(begin(parameters), ramp=RampState(RampStage.FIRST))
        half = False
        while state.ramp is not None and 0 < state.ramp.stage < RampStage.FULL:
            crowd.control = 1 - state.ramp.share(given)
            state = compare(parameters, state, crowd.window(inferior)).state
            half |= state.ramp is not None and state.ramp.stage is RampStage.SECOND
        halves += half
        most += state.ramp is not None and state.ramp.stage is RampStage.FULL
    for seed in range(paths // 10):
        crowd = Crowd(random.Random(seed), control=1 - given.shares[0])
        state, windows = begin(parameters), 0
        while state.ramp is not None and state.ramp.stage is RampStage.FLOOR:
            state, windows = compare(parameters, state, crowd.window(inferior)).state, windows + 1
        waits.append(windows)
    assert at_most(halves, paths, 1 / given.evidence[1])
    assert at_most(most, paths, 1 / given.evidence[2])
    assert most > 0
    assert fmean(waits) >= given.evidence[0] - 3 * stdev(waits) / sqrt(len(waits))


def test_13_an_effect_that_is_clipped_in_every_window_is_taken_about_the_null_value() -> None:
    """Clipped about 0, 0.79 of them were proven in simulations."""
    parameters = ComparisonParameters(reward=MetricParameters(margin=0.03))
    proven, paths = 0, 300
    for seed in range(paths):
        crowd = Crowd(random.Random(seed), agents=5000)
        state = begin(parameters)
        while True:
            found = compare(parameters, state, crowd.window(0.0, -0.031))
            state = found.state
            proven += found.conclusion in PROVEN
            if found.ends_trial:
                break
    assert at_most(proven, paths, parameters.alpha)


def test_what_serves_is_seldom_proven_by_an_average_that_is_below_the_margin() -> None:
    """The bounds of all windows together err in alpha of the paths."""
    parameters = ComparisonParameters(proof=Proof.AVERAGE, examinee_share=0.0, run_length=1e9)
    proven, paths = 0, 120
    for seed in range(paths):
        crowd = Crowd(random.Random(seed))
        state = begin(parameters)
        for _ in range(150):
            found = compare(parameters, state, crowd.window(-parameters.reward.margin))
            state = found.state
            if found.conclusion in PROVEN:
                proven += 1
                break
    assert at_most(proven, paths, parameters.alpha)


def test_7_a_late_fall_is_found_within_a_day_whatever_came_before() -> None:
    parameters = ComparisonParameters()
    late = 0
    for seed in range(200):
        crowd = Crowd(random.Random(seed))
        state = begin(parameters)
        for _ in range(300):
            state = compare(parameters, state, crowd.window(0.03)).state
        for _ in range(24):
            found = compare(parameters, state, crowd.window(-0.07))
            if found.conclusion is Conclusion.ROLLBACK:
                break
            state = found.state
        late += found.conclusion is not Conclusion.ROLLBACK
    assert late <= 10
