"""What is measured in an arm: clipped, adjusted by the agents' past, and with a reward at all."""

from __future__ import annotations

import random
from math import sqrt
from statistics import fmean

import pytest
from compared_windows import hour

from babylon_tasks.comparison.conclusion import Conclusion
from babylon_tasks.comparison.observed import (
    ArmResult,
    ComparedWindow,
    DrawnAgents,
    Stratum,
    arm_result,
)
from babylon_tasks.comparison.parameters import ComparisonParameters, MetricParameters
from babylon_tasks.comparison.rule import begin, compare

P = ComparisonParameters()


def test_each_agents_value_is_clipped_and_counted_once() -> None:
    found = arm_result([2.0, 0.5, -1.0], MetricParameters())
    assert found == ArmResult(3, 0.5, 0.25)
    assert arm_result([], MetricParameters()) == ArmResult(0, 0.0, 0.0)
    assert arm_result([0.25], MetricParameters()) == ArmResult(1, 0.25, 0.0)
    with pytest.raises(ValueError, match="NaN"):
        arm_result([0.5, float("nan")], MetricParameters())


def adjusted(seed: int, explained: float) -> tuple[list[float], list[float], float]:
    """Differences adjusted and not, and the deviation that is used at last.

    Half of the agents' variance lasts from hour to hour if ``explained``; else their past is noise.
    """
    draw = random.Random(seed)
    metric = MetricParameters(lower=-9, upper=9)
    agents = [(draw.gauss(0, 0.14), draw.gauss(0, 0.14)) for _ in range(60)]
    state, with_past, without, deviation = begin(P), [], [], 0.0
    for number in range(1, 40):
        draw.shuffle(agents)
        arms = [
            arm_result(
                [own * explained + draw.gauss(0, 0.14) for own, _ in some],
                metric,
                [own if explained else other for own, other in some],
            )
            for some in (agents[:48], agents[48:])
        ]
        found = compare(P, state, ComparedWindow(window=hour(number), reward=(Stratum(*arms),)))
        measured = found.evidence.reward.measured
        assert measured.serving is not None
        assert measured.serving_deviation is not None
        state, deviation = found.state, measured.serving_deviation
        with_past.append(measured.serving)
        without.append(arms[0].mean - arms[1].mean)
    return with_past, without, deviation


def test_14_the_past_is_used_by_earlier_windows_slope_and_noise_moves_nothing() -> None:
    with_past, without, deviation = adjusted(1, 1.0)
    assert with_past[0] == without[0], "nothing is known of the slope yet"
    of_mean = sqrt(fmean(one**2 for one in with_past)), sqrt(fmean(one**2 for one in without))
    assert of_mean[0] < 0.8 * of_mean[1]
    assert deviation == pytest.approx(sqrt(0.14**2 * (1 / 48 + 1 / 12) + 0.02**2), rel=0.1)
    noise, plain, _ = adjusted(2, 0.0)
    assert fmean(noise) == pytest.approx(fmean(plain), abs=0.004)


def short(number: int, rewarded: int, serving: float = 0.5) -> ComparedWindow:
    """A window in which so many of the 400 agents that are served have a reward, of others 96 %."""
    arms = ArmResult(rewarded, serving, 0.04), ArmResult(48, 0.5, 0.04), ArmResult(48, 0.6, 0.04)
    return ComparedWindow(
        window=hour(number), reward=(Stratum(*arms),), drawn=DrawnAgents(400, 50, 50)
    )


def test_an_arm_that_lacks_more_rewards_than_control_proves_nothing() -> None:
    state, concluded = begin(P), []
    for number in range(1, 40):
        found = compare(P, state, short(number, 384 if number < 6 else 300))
        concluded.append(found.conclusion)
        before, state = state, found.state
    assert set(concluded[:5]) == {Conclusion.KEEP}
    assert set(concluded[10:]) == {Conclusion.PAUSE_COMPARISON}
    assert "serving and the control arm" in found.evidence.reason
    assert (state.reward.trial, state.trial_windows) == (before.reward.trial, before.trial_windows)


def test_an_arm_whose_rewards_are_missing_is_rolled_back_all_the_same() -> None:
    """A policy that has collapsed may leave no outcomes: that must not hide it."""
    state = begin(P)
    for number in range(1, 20):
        found = compare(P, state, short(number, 300))
        state = found.state
    found = compare(P, state, short(20, 300, serving=0.0))
    assert found.conclusion is Conclusion.ROLLBACK
