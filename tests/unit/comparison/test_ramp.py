"""The policy's share against the model that agents used before."""

from __future__ import annotations

import random

import pytest
from compared_windows import Crowd, hour
from hypothesis import given
from hypothesis import strategies as st
from msgspec.structs import replace

from babylon_tasks.comparison.conclusion import ComparisonState, Conclusion, Shares
from babylon_tasks.comparison.observed import ArmResult, ComparedWindow, Stratum
from babylon_tasks.comparison.parameters import ComparisonParameters, Ramp, floor_share
from babylon_tasks.comparison.ramp import RampStage, RampState
from babylon_tasks.comparison.rule import begin, compare, shares

RAMP = Ramp()
P = ComparisonParameters(ramp=RAMP)


def share(state: ComparisonState, parameters: ComparisonParameters = P) -> float:
    return 1 - shares(parameters, state, examinee=False).control


def seen(number: int, policy: float, share: float) -> ComparedWindow:
    """A window of 500 agents without noise; the other model has 0.5."""
    n = max(5, round(500 * share))
    policy_arm, other = ArmResult(n, policy, 0.04), ArmResult(500 - n, 0.5, 0.04)
    return ComparedWindow(window=hour(number), reward=(Stratum(policy_arm, other),))


@given(st.lists(st.floats(0.0, 1.0), min_size=1, max_size=80))
def test_15_the_share_rises_by_stages_and_the_loss_stays_within_the_budget(
    means: list[float],
) -> None:
    state = begin(P)
    for number, mean in enumerate(means, start=1):
        before = share(state)
        found = compare(P, state, seen(number, mean, before))
        state = found.state
        stages = [0.0, *RAMP.shares]
        assert share(state) <= stages[stages.index(pytest.approx(before)) + 1] + 1e-12
        assert share(state) <= 0.9 + 1e-12
        assert state.ramp is not None
        assert state.ramp.loss <= RAMP.budget + 0.9
        assert (share(state) == 0) == (found.conclusion is Conclusion.WITHDRAW)
        if found.conclusion is Conclusion.WITHDRAW:
            break


def test_a_better_policy_gets_its_share_and_a_collapse_takes_it_in_the_window_that_shows_it() -> (
    None
):
    state, risen, number = begin(P), [share(begin(P))], 0
    for number in range(1, 60):
        found = compare(P, state, seen(number, 0.53, risen[-1]))
        state = found.state
        if found.conclusion is Conclusion.RISE:
            risen.append(share(state))
    assert risen == pytest.approx([0.05, 0.2, 0.5, 0.9])
    for later in range(1, 10):
        found = compare(P, state, seen(number + later, 0.3, 0.9))
        state = found.state
        if found.conclusion is Conclusion.TO_FLOOR:
            break
    assert later <= 3
    assert share(state) == pytest.approx(0.05)
    assert state.ramp is not None
    assert state.ramp.stage is RampStage.FLOOR
    assert state.reward.climb == begin(P).reward.climb


def test_a_policy_that_is_worse_stays_at_the_floor_until_its_budget_is_spent() -> None:
    parameters = ComparisonParameters(ramp=Ramp(budget=0.1))
    state = begin(parameters)
    concluded = []
    for number in range(1, 100):
        found = compare(parameters, state, seen(number, 0.4, share(state, parameters)))
        state = found.state
        concluded.append(found.conclusion)
        if found.conclusion is Conclusion.WITHDRAW:
            break
    assert concluded == [Conclusion.KEEP] * 19 + [Conclusion.WITHDRAW]
    assert share(state, parameters) == 0
    assert "budget" in found.evidence.reason


def test_hours_that_are_no_evidence_are_paid_for_as_well() -> None:
    """That of a collapse, and those that had begun before it was concluded."""
    parameters = ComparisonParameters(ramp=Ramp(budget=1.0))
    state = replace(begin(parameters), ramp=RampState(RampStage.FULL))
    paid, concluded = [], []
    for number, collapsed in ((1, "broken"), (2, "broken"), (3, "")):
        window = replace(seen(number, 0.1, 0.9), collapsed=collapsed, decided="")
        found = compare(parameters, state, window)
        state = found.state
        assert state.ramp is not None
        assert state.ramp.windows == 0
        paid.append(state.ramp.loss)
        concluded.append(found.conclusion)
    assert paid == pytest.approx([0.36, 0.72, 1.08])
    assert concluded == [Conclusion.TO_FLOOR, Conclusion.KEEP, Conclusion.WITHDRAW]
    assert share(state, parameters) == 0


@pytest.mark.parametrize(
    ("policy", "other", "complied", "cost", "conclusion"),
    [
        (4, 6, 1.0, 0.16, Conclusion.KEEP),
        (1, 9, 1.0, 0.04, Conclusion.KEEP),
        (90, 1, 1.0, 90 / 91 * 0.4, Conclusion.KEEP),
        (50, 50, 0.8, 0.2, Conclusion.PAUSE_COMPARISON),
        (0, 9, 1.0, 0.0, Conclusion.KEEP),  # nobody had it
        (50, 50, 0.0, 0.0, Conclusion.PAUSE_COMPARISON),  # nobody was answered by it
    ],
)
def test_what_an_hour_has_cost_is_paid_though_it_proves_nothing(
    policy: int, other: int, complied: float, cost: float, conclusion: Conclusion
) -> None:
    state = replace(begin(P), ramp=RampState(RampStage.FIRST, 2, 0.5))
    arms = Stratum(ArmResult(policy, 0.1, 0.04), ArmResult(other, 0.5, 0.04))
    window = ComparedWindow(window=hour(1), reward=(arms,), complied=complied)

    found = compare(P, state, window)

    assert found.conclusion is conclusion
    assert found.evidence.ramp == found.state.ramp
    assert found.state.ramp == RampState(RampStage.FIRST, 2, pytest.approx(0.5 + cost))
    assert found.state.reward == state.reward
    spent = replace(state, ramp=RampState(RampStage.FIRST, 2, 1.99))
    over = compare(P, spent, window).conclusion is Conclusion.WITHDRAW
    assert over == (cost > 0)


def test_an_examinee_is_tried_only_at_the_end_of_the_ramp() -> None:
    state = begin(P)
    assert shares(P, state, examinee=True) == Shares(0.95, 0.0)
    full = replace(state, ramp=RampState(RampStage.FULL))
    assert shares(P, full, examinee=True) == Shares(pytest.approx(0.1), 0.1)


def test_seldom_is_an_inferior_policy_given_most_agents() -> None:
    """By Ville at most 1 in 20 of those that leave the floor; they leave it once in 100 windows."""
    most, loss = 0, 0.0
    for seed in range(40):
        crowd = Crowd(random.Random(seed))
        state = begin(P)
        for _ in range(200):
            crowd.control = 1 - share(state)
            found = compare(P, state, crowd.window(-0.05))
            state = found.state
            most += share(state) > 0.2
        assert state.ramp is not None
        loss += state.ramp.loss / 40
    assert most == 0
    assert loss == pytest.approx(200 * 0.05 * 0.05, rel=0.25)


def test_a_ramp_must_rise_and_a_small_crowd_has_a_higher_floor() -> None:
    with pytest.raises(ValueError, match="must rise"):
        ComparisonParameters(ramp=Ramp(shares=(0.1, 0.05, 0.5, 0.9)))
    assert [floor_share(one) for one in (20, 50, 500, 5000)] == [0.2, 0.1, 0.05, 0.05]
