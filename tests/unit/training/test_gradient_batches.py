"""Which packed rows make a gradient step together."""

from __future__ import annotations

import torch
from hypothesis import given
from hypothesis import strategies as st

from babylon_tasks.training.packed_rows import gradient_batches, trained_calls


def test_full_rows_are_a_gradient_step_each() -> None:
    assert gradient_batches([100, 90, 100]) == [[0], [1], [2]]


def test_a_row_of_one_group_does_not_move_the_weights_as_far_as_one_of_seven() -> None:
    assert gradient_batches([112, 16]) == [[0, 1]]
    assert gradient_batches([16, 112]) == [[0, 1]]  # ART shuffles rows
    assert gradient_batches([112, 16, 112]) == [[0], [1, 2]]


def test_half_a_row_is_enough() -> None:
    assert gradient_batches([112, 56]) == [[0], [1]]


def test_rows_are_put_together_until_they_have_enough_calls() -> None:
    tokens, calls = [48, 40, 40], [48, 40, 40]

    assert gradient_batches(tokens, calls, least_calls=48) == [[0], [1, 2]]
    assert gradient_batches(tokens, calls, least_calls=128) == [[0, 1, 2]]
    assert gradient_batches(tokens, calls, least_calls=1000) == [[0, 1, 2]], "it has no more"
    assert gradient_batches(tokens * 2, calls * 2, least_calls=128) == [[0, 1, 2], [3, 4, 5]]
    assert gradient_batches([*tokens, 48], [*calls, 48], least_calls=128) == [[0, 1, 2, 3]]


def test_calls_are_counted_by_the_branches_that_are_trained_on() -> None:
    packed = {
        "group_ids": torch.tensor([[0, 1, 1, 2, 2, -1], [0, 1, 1, 1, -1, -1]]),
        "assistant_mask": torch.tensor([[0, 0, 1, 1, 1, 0], [0, 0, 1, 1, 0, 0]]),
    }

    assert trained_calls(packed) == [2, 1]


def test_nothing_packed_is_no_gradient_step() -> None:
    assert gradient_batches([]) == []


@given(st.lists(st.integers(1, 200), min_size=1, max_size=20))
def test_every_row_is_in_one_step_and_every_step_has_half_of_the_fullest_row(
    tokens: list[int],
) -> None:
    batches = gradient_batches(tokens)

    assert [row for batch in batches for row in batch] == list(range(len(tokens)))
    assert all(2 * sum(tokens[row] for row in batch) >= max(tokens) for batch in batches)
