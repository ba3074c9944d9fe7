"""Which packed rows make a gradient step together."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from babylon_tasks.training.packed_rows import gradient_batches


def test_full_rows_are_a_gradient_step_each() -> None:
    assert gradient_batches([100, 90, 100]) == [[0], [1], [2]]


def test_a_row_of_one_group_does_not_move_the_weights_as_far_as_one_of_seven() -> None:
    assert gradient_batches([112, 16]) == [[0, 1]]
    assert gradient_batches([16, 112]) == [[0, 1]]  # ART shuffles rows
    assert gradient_batches([112, 16, 112]) == [[0], [1, 2]]


def test_half_a_row_is_enough() -> None:
    assert gradient_batches([112, 56]) == [[0], [1]]


def test_nothing_packed_is_no_gradient_step() -> None:
    assert gradient_batches([]) == []


@given(st.lists(st.integers(1, 200), min_size=1, max_size=20))
def test_every_row_is_in_one_step_and_every_step_has_half_of_the_fullest_row(
    tokens: list[int],
) -> None:
    batches = gradient_batches(tokens)

    assert [row for batch in batches for row in batch] == list(range(len(tokens)))
    assert all(2 * sum(tokens[row] for row in batch) >= max(tokens) for batch in batches)
