"""Which checkpoint serves again after harm on a ramp."""

from __future__ import annotations

import random
from datetime import UTC, datetime, timedelta

import pytest
from compared_windows import Crowd, hour
from msgspec.structs import replace

from babylon_tasks.comparison import rule
from babylon_tasks.comparison.conclusion import Compared, Conclusion
from babylon_tasks.comparison.evidence import evidence, harm
from babylon_tasks.comparison.fall_back import ServedSince, last_quiet, quiet_checkpoint
from babylon_tasks.comparison.metric import Measured
from babylon_tasks.comparison.parameters import ComparisonParameters, Ramp
from babylon_tasks.comparison.ramp import RampStage, RampState

NOON = datetime(2026, 1, 1, 12, tzinfo=UTC)
BEGAN, QUIET, NOW = hour(0), hour(5), hour(7)
HINT = 15.0  # windows: harm has come to a hundredth of the run length


def served(*steps: int, unusable: int | None = None) -> list[ServedSince]:
    """The first from the beginning, the second since 11:30, each of the others an hour later."""
    return [
        ServedSince(
            step, NOON + timedelta(hours=number - 1.5) if number else None, step != unusable
        )
        for number, step in enumerate(steps)
    ]


def concluded(
    conclusion: Conclusion,
    stage: RampStage | None,
    quiet: str = QUIET,
    harm_so_far: float = 0.0,
    *,
    collapsed: bool = False,
) -> Compared:
    parameters = ComparisonParameters(ramp=Ramp())
    state = replace(
        rule.begin(parameters),
        window=NOW,
        quiet=quiet,
        ramp=None if stage is None else RampState(stage),
    )
    found = harm(parameters, state)
    figures = evidence(parameters, state, found, Measured(), Measured(), "worse")
    return Compared(conclusion, state, replace(figures, harm=harm_so_far), collapsed=collapsed)


@pytest.mark.parametrize(
    ("steps", "found"),
    [
        ((1, 2, 3), 2),  # 3 came within the quiet hour
        ((2,), 2),  # it has always served
        ((1, 3, 2), 3),
    ],
)
def test_what_served_from_the_beginning_of_the_quiet_hour_serves_again(
    steps: tuple[int, ...], found: int
) -> None:
    assert quiet_checkpoint(served(*steps), NOON) == found


def test_what_was_discarded_or_pruned_gives_way_to_what_served_before_it() -> None:
    assert quiet_checkpoint(served(1, 2, 3, unusable=2), NOON) == 1
    assert quiet_checkpoint(served(2, unusable=2), NOON) is None


@pytest.mark.parametrize(
    ("conclusion", "stage", "since"),
    [
        (Conclusion.TO_FLOOR, RampStage.FULL, QUIET),
        (Conclusion.ROLLBACK, None, QUIET),
        (Conclusion.ROLLBACK_AND_PAUSE, None, QUIET),
        (Conclusion.WITHDRAW, RampStage.FIRST, QUIET),
        (Conclusion.WITHDRAW, RampStage.FLOOR, None),
        (Conclusion.RISE, RampStage.FIRST, None),
        (Conclusion.KEEP, RampStage.FIRST, None),
    ],
)
@pytest.mark.parametrize("collapsed", [False, True])
def test_harm_above_the_floor_is_rolled_back(
    conclusion: Conclusion, stage: RampStage | None, since: str | None, collapsed: bool
) -> None:
    """By what the detectors have seen, or by an hour that needs none."""
    shown = concluded(
        conclusion, stage, harm_so_far=0.0 if collapsed else HINT, collapsed=collapsed
    )
    assert last_quiet(shown, BEGAN) == since


@pytest.mark.parametrize("conclusion", [Conclusion.TO_FLOOR, Conclusion.WITHDRAW])
def test_where_no_hour_shows_harm_no_checkpoint_is_taken_out(conclusion: Conclusion) -> None:
    """Such as a budget that is spent in hours that are no evidence, or over many hours together."""
    assert last_quiet(concluded(conclusion, RampStage.FULL), BEGAN) is None


def test_without_a_quiet_hour_the_comparison_s_beginning_stands_in() -> None:
    compared = concluded(Conclusion.TO_FLOOR, RampStage.FULL, quiet="", collapsed=True)
    assert last_quiet(compared, BEGAN) == BEGAN


def test_the_first_hours_of_a_collapse_are_not_quiet() -> None:
    # By the detectors alone some of them were in 21 runs of 40: with 50 agents it takes 7 hours.
    parameters = ComparisonParameters(control_share=0.1)
    late = 0
    for seed in range(40):
        crowd, state = Crowd(random.Random(seed), 50, 0.1), rule.begin(parameters)
        for _ in range(24):
            state = rule.compare(parameters, state, crowd.window(0.0)).state
        healthy = state.window
        found = rule.compare(parameters, state, crowd.window(-0.2))
        while found.conclusion is not Conclusion.ROLLBACK:
            found = rule.compare(parameters, found.state, crowd.window(-0.2))
        late += found.evidence.quiet > healthy
    assert late <= 4
