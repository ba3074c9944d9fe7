"""Where the prediction of a packed token is found: at the token before it in its own branch."""

from __future__ import annotations

import torch

from babylon_tasks.training.policy import Policy


def sources(
    targets: list[int], positions: list[int], groups: list[int], parents: list[int]
) -> list[int]:
    found = Policy._predecessors(
        torch.tensor(targets), torch.tensor(positions), torch.tensor(groups), torch.tensor(parents)
    )
    return found.tolist()


def test_in_one_conversation_it_is_the_token_to_the_left() -> None:
    assert sources([3, 4], [0, 1, 2, 3, 4], [0] * 5, [0] * 5) == [2, 3]


def test_the_first_token_of_every_branch_follows_the_shared_prompt() -> None:
    # a prompt of three tokens, then two answers of two tokens each
    positions, groups = [0, 1, 2, 3, 4, 3, 4], [0, 0, 0, 1, 1, 2, 2]

    assert sources([3, 4, 5, 6], positions, groups, [0] * 7) == [2, 3, 2, 5]


def test_a_second_prompt_in_the_row_has_answers_of_its_own() -> None:
    positions = [0, 1, 2, 2, 0, 1, 2, 3, 2]
    groups = [0, 0, 1, 2, 3, 3, 4, 4, 5]
    parents = [0, 0, 0, 0, 3, 3, 3, 3, 3]

    assert sources([2, 3, 6, 7, 8], positions, groups, parents) == [1, 1, 5, 6, 5]


def test_a_longer_sibling_in_front_is_not_taken_for_the_prompt() -> None:
    # the token to the left has the right position, but in another branch
    positions, groups = [0, 1, 1, 2], [0, 1, 2, 2]

    assert sources([1, 2, 3], positions, groups, [0] * 4) == [0, 0, 2]
