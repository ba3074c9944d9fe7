"""What a packed row computes once, and where the prediction of each of its tokens is found."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from babylon_tasks.training.token_tree import TokenTree, token_tree

Conversation = tuple[list[int], list[list[int]]]  # a prompt, and its answers


def row_of(*conversations: Conversation) -> list[tuple[int, int, int, int]]:
    """As ART packs them: each prompt once, and each answer in a branch of its own behind it."""
    row: list[tuple[int, int, int, int]] = []
    branch = 0
    for prompt, answers in conversations:
        parent = branch
        row += [(token, place, parent, parent) for place, token in enumerate(prompt)]
        for answer in answers:
            branch += 1
            places = enumerate(answer, len(prompt))
            row += [(token, place, branch, parent) for place, token in places]
        branch += 1
    return row


def spelled(tree: TokenTree, row: list[tuple[int, int, int, int]], place: int) -> list[int]:
    """The tokens up to a place of the row, by going back from its node."""
    found: list[int] = []
    node = tree.node_of[place]
    while node != -1:
        found.insert(0, row[tree.first[node]][0])
        node = tree.follows[node]
    return found


def test_in_one_conversation_each_token_follows_the_one_to_its_left() -> None:
    tree = token_tree(row_of(([7, 8, 9], [[4, 5]])))

    assert tree.follows == [-1, 0, 1, 2, 3]
    assert tree.node_of == [0, 1, 2, 3, 4]


def test_the_first_token_of_every_answer_follows_the_shared_prompt() -> None:
    tree = token_tree(row_of(([7, 8, 9], [[4, 5], [6, 5]])))

    assert tree.follows == [-1, 0, 1, 2, 3, 2, 5]


def test_a_longer_sibling_in_front_is_not_taken_for_the_prompt() -> None:
    # the token to the left has the right position, but in another branch
    tree = token_tree(row_of(([7], [[1], [2, 3]])))

    assert tree.follows == [-1, 0, 0, 2]


def test_answers_that_begin_alike_are_one_until_they_differ() -> None:
    tree = token_tree(row_of(([7], [[1, 2, 3], [1, 2, 4], [1, 2, 3]])))

    assert tree.node_of == [0, 1, 2, 3, 1, 2, 4, 1, 2, 3]
    assert tree.first == [0, 1, 2, 3, 6]


def test_prompts_share_what_they_begin_with_but_equal_ends_are_two() -> None:
    tree = token_tree(row_of(([7, 8, 9], [[1]]), ([7, 6, 9], [[1]])))

    assert tree.node_of == [0, 1, 2, 3, 0, 4, 5, 6]


def test_a_node_attends_to_what_came_before_it_and_to_itself() -> None:
    tree = token_tree(row_of(([7, 8], [[1, 2], [3]])))

    assert tree.visible().tolist() == [
        [True, False, False, False, False],
        [True, True, False, False, False],
        [True, True, True, False, False],
        [True, True, True, True, False],
        [True, True, False, False, True],
    ]


def test_what_nothing_wanted_follows_is_left_out() -> None:
    row = row_of(([7, 8], [[1, 2], [3]]), ([7, 6], [[4]]))
    tree = token_tree(row)
    first_of_3, second_of_12 = tree.follows[tree.node_of[4]], tree.follows[tree.node_of[3]]

    kept, ends = tree.up_to([first_of_3, second_of_12, first_of_3])

    assert [row[place][0] for place in kept.first] == [7, 8, 1]
    assert kept.follows == [-1, 0, 1]
    assert ends == [1, 2, 1]
    assert kept.node_of == [0, 1, 2, -1, -1, 0, -1, -1]


few = st.integers(0, 2)  # so few words that much begins alike


@given(
    st.lists(
        st.tuples(
            st.lists(few, min_size=1, max_size=4),
            st.lists(st.lists(few, min_size=1, max_size=4), max_size=4),
        ),
        min_size=1,
        max_size=4,
    )
)
def test_every_token_stands_behind_its_own_conversation_and_no_beginning_stands_twice(
    conversations: list[Conversation],
) -> None:
    row = row_of(*conversations)
    tree = token_tree(row)

    place = 0
    for prompt, answers in conversations:
        for conversation in ([], *answers):
            start = len(prompt) if conversation else 0
            whole = prompt + conversation
            for end in range(start, len(whole)):
                assert spelled(tree, row, place) == whole[: end + 1]
                place += 1
    beginnings = {tuple(spelled(tree, row, first)) for first in tree.first}
    assert len(beginnings) == len(tree.first)
    assert all(before < node for node, before in enumerate(tree.follows))
