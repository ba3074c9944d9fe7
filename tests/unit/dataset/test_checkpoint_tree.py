"""The tree of checkpoints: dead branches make nothing older."""

from __future__ import annotations

from babylon_tasks.dataset.checkpoint_tree import ages, depth, path, refused_children

# 1 was promoted, 2 to 4 were held back one after the other, 5 was promoted, 6 held back.
PARENTS = {1: 0, 2: 1, 3: 1, 4: 1, 5: 1, 6: 5}


def test_a_checkpoint_is_as_deep_as_it_has_ancestors_whatever_its_number() -> None:
    assert [depth(step, PARENTS) for step in range(7)] == [0, 1, 2, 2, 2, 2, 3]


def test_what_was_held_back_makes_the_data_of_what_serves_no_older() -> None:
    held = dict.fromkeys(range(3, 17), 2)

    assert ages(2, 16, held)[2] == 0
    assert ages(2, 16, held)[1] == 1


def test_an_answer_of_a_dead_branch_is_as_far_as_the_way_through_the_common_ancestor() -> None:
    assert ages(5, 6, PARENTS) == {5: 0, 1: 1, 0: 2, 2: 2, 3: 2, 4: 2, 6: 1}


def test_steps_of_unknown_descent_form_a_straight_line() -> None:
    assert ages(3, 4, {}) == {3: 0, 2: 1, 1: 2, 0: 3, 4: 1}


def test_rows_that_contradict_themselves_end_all_the_same() -> None:
    assert path(3, {3: 3, 2: 9}) == [3, 2, 1, 0]


def test_a_refusal_counts_for_the_checkpoint_that_it_came_from() -> None:
    assert refused_children(1, [(2, 1), (3, 1), (4, 1)], PARENTS) == {2, 3, 4}
    assert refused_children(5, [(6, 5)], PARENTS) == {6}
    assert refused_children(1, [(6, 1)], PARENTS) == {5}, "what was rolled back began with it"
    assert refused_children(1, [(6, 5)], PARENTS) == set(), "5 served, and was not refused"
    assert refused_children(6, [(2, 1), (6, 5)], PARENTS) == set()
