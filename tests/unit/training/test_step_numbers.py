"""Numbers at W&B come again after a discard, ours never do; both name the same checkpoints."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from babylon_tasks.errors import TrainingError
from babylon_tasks.training.step_numbers import StepNumbers

# 3 and 4 were dead and are discarded; 5 was trained from 2 and is W&B's third.
AFTER = StepNumbers(head=5, theirs={0: 0, 1: 1, 2: 2, 5: 3})


def test_a_number_that_came_again_is_the_newest_checkpoints() -> None:
    assert [AFTER.of_backend(step) for step in (0, 1, 2, 5, 6)] == [0, 1, 2, 3, 4]
    assert [AFTER.of_ours(number) for number in (3, 4)] == [5, 6]


@pytest.mark.parametrize("step", [3, 4])
def test_what_was_discarded_has_no_number_any_more(step: int) -> None:
    with pytest.raises(TrainingError, match=f"checkpoint {step} was discarded"):
        AFTER.of_backend(step)


def test_a_discarded_head_is_what_the_next_step_starts_from() -> None:
    numbers = StepNumbers(head=4, theirs={0: 0, 1: 1, 2: 2})
    assert numbers.of_ours(2) == 4
    assert numbers.of_backend(4) == numbers.of_backend(2) == 2


def test_while_a_branch_is_discarded_the_backend_is_at_the_head() -> None:
    numbers = StepNumbers(head=4, theirs={step: step for step in range(5)}, dead={3, 4})
    assert [numbers.of_ours(number) for number in (1, 2, 3, 4, 5)] == [1, 4, 4, 4, 5]


def test_a_backend_that_lost_what_lives_is_not_at_the_head() -> None:
    assert AFTER.of_ours(1) == 1


@given(st.lists(st.one_of(st.none(), st.integers(0, 3)), max_size=30))
def test_a_living_checkpoint_keeps_its_own_number_and_the_next_one_is_found(
    acts: list[int | None],
) -> None:
    """None: a step is trained; n: the n newest checkpoints are discarded."""
    head, theirs, content = 0, {0: 0}, {0: "base"}  # content: what W&B has by its number
    for act in acts:
        numbers = StepNumbers(head=head, theirs=theirs)
        if act is None:
            number = max(content) + 1
            content[number] = f"step {head + 1}"
            assert numbers.of_ours(number) == head + 1
            assert numbers.of_backend(head + 1) == number
            head += 1
            theirs = {**theirs, head: number}
        else:
            for step in sorted(theirs, reverse=True)[:act]:
                if step:
                    del content[theirs[step]]
                    theirs = {one: at for one, at in theirs.items() if one != step}
        numbers = StepNumbers(head=head, theirs=theirs)
        assert numbers.of_ours(max(content)) == head
        assert numbers.of_backend(head) == max(content)
        assert all(
            content[numbers.of_backend(step)].endswith(f" {step}") for step in theirs if step
        )
