"""What needs no detector: few valid answers, the fallback's, or slow ones end it in one hour."""

from __future__ import annotations

import pytest
from compared_windows import hour
from msgspec.structs import replace

from babylon_tasks.arms import Arm
from babylon_tasks.comparison import rule
from babylon_tasks.comparison.collapse import ArmAnswers, why_collapsed, why_unanswered
from babylon_tasks.comparison.conclusion import Conclusion
from babylon_tasks.comparison.observed import ArmResult, ComparedWindow, Stratum
from babylon_tasks.comparison.parameters import ComparisonParameters, Ramp
from babylon_tasks.comparison.ramp import RampStage, RampState


def answers(
    *, calls: int = 200, elsewhere: int = 0, latency: float = 500.0, control: int = 100
) -> dict[Arm, ArmAnswers]:
    return {
        Arm.SERVING: ArmAnswers(Arm.SERVING, calls, elsewhere, latency),
        Arm.CONTROL: ArmAnswers(Arm.CONTROL, control, 0, 400.0),
    }


def valid(serving: float, control: float, agents: int = 50) -> dict[Arm, list[float]]:
    return {
        arm: [1.0] * round(agents * share) + [0.0] * round(agents * (1 - share))
        for arm, share in ((Arm.SERVING, serving), (Arm.CONTROL, control))
    }


@pytest.mark.parametrize(
    ("given", "shares", "external", "why"),
    [
        (answers(), valid(1, 1), False, ""),
        (answers(), valid(0.5, 0.96), False, "50% of the answers of what serves were valid"),
        (answers(control=49), valid(0.5, 0.96), False, ""),
        (answers(), valid(0.88, 0.96), False, ""),  # less than 10 points
        (answers(), valid(0.8, 0.96, 25), False, ""),  # as chance has it
        (answers(elsewhere=30), valid(1, 1), False, "the fallback gave 15% of 200 answers"),
        (answers(elsewhere=30), valid(1, 1), True, ""),  # a restart
        (answers(elsewhere=120), valid(1, 1), True, "the fallback gave 60%"),
        (answers(latency=1300), valid(1, 1), False, "3.2 times as long as the anchor"),
        (answers(latency=1300), valid(1, 1), True, ""),
        ({}, valid(0, 1), False, ""),
    ],
)
def test_a_collapse_is_named_beyond_doubt_only(
    given: dict[Arm, ArmAnswers], shares: dict[Arm, list[float]], external: bool, why: str
) -> None:
    found = why_collapsed(given, shares, external=external)
    assert why in found
    assert bool(found) is bool(why)


@pytest.mark.parametrize(
    ("serving", "control", "share", "fails"),
    [
        (450, 50, 0.9, False),
        (0, 50, 0.9, True),
        (150, 50, 0.9, True),
        (250, 50, 0.9, False),  # more than half of those expected
        (0, 5, 0.8, False),  # as chance has it once in 3,000 hours
        (0, 10, 0.8, True),
        (0, 160, 0.2, True),
        (0, 0, 0.9, False),  # nobody was answered
    ],
)
def test_an_endpoint_that_leaves_no_answers_is_seen_by_who_was_drawn_for_it(
    serving: int, control: int, share: float, fails: bool
) -> None:
    found = why_unanswered(serving, control, share)
    assert bool(found) is fails
    assert ("its endpoint fails" in found) is fails


def window(number: int, collapsed: str = "", **values: object) -> ComparedWindow:
    arm = ArmResult(20, 0.5, 0.04)
    made = ComparedWindow(
        window=hour(number), reward=(Stratum(arm, arm),), collapsed=collapsed, examinee=""
    )
    return replace(made, **values)


def test_the_anchor_serves_again_whatever_the_rewards_say() -> None:
    parameters = ComparisonParameters()
    first = rule.compare(parameters, rule.begin(parameters), window(0))

    found = rule.compare(parameters, first.state, window(1, "broken", complied=0.5))

    assert found.conclusion is Conclusion.ROLLBACK
    assert found.evidence.reason == "broken"
    assert found.evidence.quiet == hour(0)  # so it is shown by the hour itself
    # Hours that were drawn before it show the same again, and are passed over.
    again = rule.compare(parameters, found.state, window(2, "broken", decided=hour(0)))
    assert again.conclusion is Conclusion.KEEP


def test_the_third_in_a_week_pauses() -> None:
    parameters = ComparisonParameters()
    state, conclusions = rule.begin(parameters), []
    for number in range(3):
        found = rule.compare(parameters, state, window(number, "broken"))
        state = found.state
        conclusions.append(found.conclusion)
    assert conclusions == ["rollback", "rollback", "rollback_and_pause"]


@pytest.mark.parametrize(
    ("stage", "conclusion"),
    [(RampStage.FLOOR, Conclusion.KEEP), (RampStage.SECOND, Conclusion.TO_FLOOR)],
)
def test_a_ramp_falls_to_its_floor_and_no_further(stage: RampStage, conclusion: str) -> None:
    parameters = ComparisonParameters(ramp=Ramp())
    state = replace(rule.begin(parameters), ramp=RampState(stage, 1, 0.25))

    found = rule.compare(parameters, state, window(0, "broken"))

    assert found.conclusion is conclusion
    assert found.state.ramp is not None
    assert (found.state.ramp.stage, found.state.ramp.loss) == (RampStage.FLOOR, 0.25)


def test_hours_that_hinted_at_a_collapse_count_with_those_that_showed_it() -> None:
    parameters = ComparisonParameters()
    ours, theirs = ArmResult(400, 0.3, 0.04), ArmResult(50, 0.5, 0.04)
    first = rule.compare(parameters, rule.begin(parameters), window(0))
    worse = window(1, reward=(Stratum(ours, theirs),))
    hinted = rule.compare(parameters, first.state, worse)
    assert (hinted.conclusion, hinted.evidence.quiet) == (Conclusion.KEEP, hour(0))

    found = rule.compare(parameters, hinted.state, window(2, "broken"))

    assert found.evidence.quiet == hour(0)
