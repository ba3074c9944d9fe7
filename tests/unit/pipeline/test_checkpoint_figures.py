"""A trainer's evaluation is stored whole or not at all: what is not usable as it is is refused."""

from __future__ import annotations

import msgspec
import pytest

from babylon_tasks.errors import TrainingError
from babylon_tasks.pipeline.checkpoint_figures import check_answer
from babylon_tasks.training.protocol import Evaluated, StepValue


def of_step(step: int, values: tuple[float, ...] = (0.4, 0.6)) -> StepValue:
    return StepValue(step, values, (0.9,) * 2, (0.3,) * 2, ({"rise": 0.5},) * 2)


def test_each_step_with_a_figure_for_each_group_is_an_answer() -> None:
    check_answer(Evaluated((of_step(2), of_step(0))), (0, 2), groups=2)


@pytest.mark.parametrize("steps", [(0,), (0, 1), (0, 2, 3), (0, 2, 2), ()])
def test_steps_that_are_missing_or_were_not_asked_for_are_named(steps: tuple[int, ...]) -> None:
    answer = Evaluated(tuple(of_step(step) for step in steps))

    with pytest.raises(TrainingError, match=r"steps \[0, 2\] and answered with") as raised:
        check_answer(answer, (0, 2), groups=2)
    assert str(list(steps)) in str(raised.value)


@pytest.mark.parametrize("field", ["values", "coverage", "entropy"])
@pytest.mark.parametrize(
    "figures", [(0.5,), (0.5, 0.5, 0.5), (0.5, float("nan")), (float("inf"), 0.5)]
)
def test_figures_that_are_not_finite_or_not_one_for_each_group_are_refused(
    field: str, figures: tuple[float, ...]
) -> None:
    broken = msgspec.structs.replace(of_step(2), **{field: figures})

    with pytest.raises(TrainingError, match="values of step 2 are not 2 finite numbers"):
        check_answer(Evaluated((of_step(0), broken)), (0, 2), groups=2)


@pytest.mark.parametrize("says", [({},), ({}, {"rise": float("nan")})])
def test_what_a_policy_says_is_known_of_each_group_or_refused(
    says: tuple[dict[str, float], ...],
) -> None:
    broken = msgspec.structs.replace(of_step(2), says=says)

    with pytest.raises(TrainingError, match="step 2"):
        check_answer(Evaluated((broken,)), (2,), groups=2)


def test_lists_whose_lengths_only_add_up_are_refused() -> None:
    shifted = StepValue(2, (0.5,) * 3, (0.9,), (0.3,) * 2, ({},) * 2)

    with pytest.raises(TrainingError, match="step 2"):
        check_answer(Evaluated((shifted,)), (2,), groups=2)
