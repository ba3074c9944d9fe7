"""The evaluation set: informative groups only, and slow to change."""

from __future__ import annotations

import pytest

from babylon_tasks.dataset.groups import rank
from babylon_tasks.dataset.held_out import fill, order, places, set_hash, tokens
from babylon_tasks.records import Group, LlmCall, Member

GROUPS = [(f"2026-01-31T{n:02d}:00", "", 4, 0.5) for n in range(20)]


@pytest.mark.parametrize(("limit", "kept"), [(0.0, ["w2", "w3"]), (0.25, ["w3"]), (0.5, [])])
def test_what_has_no_more_spread_than_the_limit_is_left_out(limit: float, kept: list[str]) -> None:
    found = order([("w1", "", 4, 0.0), ("w2", "", 4, 0.25), ("w3", "", 4, 0.5)], 16, limit)

    assert sorted(window for window, _, _ in found) == kept


def test_a_new_group_displaces_at_most_one_of_the_chosen() -> None:
    before = order(GROUPS[:-1], 16, 0.1)[:8]
    after = order(GROUPS, 16, 0.1)[:8]

    assert len(set(before) - set(after)) <= 1


def test_the_order_does_not_depend_on_the_order_of_the_rows() -> None:
    assert order(GROUPS, 16, 0.1) == order(reversed(GROUPS), 16, 0.1)


def test_one_hour_of_many_agents_is_enough_for_several_groups() -> None:
    assert order([("w", "", 4000, 0.5)], 16, 0.1)[:3] == [("w", "", 0), ("w", "", 1), ("w", "", 2)]


def test_each_question_is_used_before_any_is_used_again() -> None:
    found = order([("w1", "a", 40, 0.5), ("w2", "b", 17, 0.5)], 16, 0.1)

    assert found == [("w2", "b", 0), ("w1", "a", 0), ("w2", "b", 1), ("w1", "a", 1), ("w1", "a", 2)]


def test_the_set_is_named_by_its_content() -> None:
    group = Group("w", "", (Member("a", 0.0, ()), Member("b", 1.0, ())))
    other = Group("w", "", (Member("a", 0.1, ()), Member("b", 1.0, ())))

    assert set_hash([group]) == set_hash([group])
    assert len({set_hash([group]), set_hash([other]), set_hash([])}) == 3


def asked(key: str, *said: str) -> Group:
    question = (("user", f"Market {key}. Will it rise? Yes or No?"),)
    calls = (LlmCall("m", question, text, 1.0) for text in said)
    return Group("w", key, tuple(Member(f"{n}", n, (call,)) for n, call in enumerate(calls)))


AGREED = [asked(f"a{n}", "Yes", "who knows") for n in range(4)]
CONTESTED = [asked(f"c{n}", "Yes", "No, never") for n in range(4)]
COST = tokens(AGREED[0])


def test_groups_in_which_members_acted_differently_are_taken_first_and_others_fill_the_rest() -> (
    None
):
    turns = [AGREED[0], CONTESTED[0], AGREED[1], CONTESTED[1]]

    assert {tokens(one) for one in turns} == {COST}
    assert fill(turns, 2 * COST, 1) == CONTESTED[:2]
    assert fill(turns, 3 * COST, 1) == [*CONTESTED[:2], AGREED[0]]
    assert fill(turns, 4 * COST - 1, 1) == [*CONTESTED[:2], AGREED[0]]
    assert fill(turns, COST, 3) == [*CONTESTED[:2], AGREED[0]], "fewer would decide nothing"
    assert fill(turns, COST - 1, 3) == [], "each of them alone is too large"


def test_for_them_twice_the_tokens_are_read_and_no_more() -> None:
    rest = iter([*AGREED, *CONTESTED])

    assert fill(rest, 2 * COST, 1) == AGREED[:2]
    assert len(list(rest)) == 5, "the third had no room among those that were put by"


def test_every_second_group_is_of_the_newest_two_hours_whatever_the_budget() -> None:
    groups = [(f"2026-01-31T{hour:02d}:00", key, 4, 0.5) for hour in range(10) for key in "abcd"]

    found = [window for window, _, _ in order(groups, 16, 0.1)]

    assert {window[11:13] for window in found[:16:2]} == {"08", "09"}
    assert found[0] == "2026-01-31T09:00"
    assert len(set(found[1:16:2])) > 4, "the others are spread over age"
    assert not {"08", "09"} & {window[11:13] for window in found[1:16:2]}
    assert sorted(found) == sorted(window for window, *_ in groups), "then the rest"


def test_another_draw_takes_other_groups_of_the_past_and_the_same_of_the_present() -> None:
    groups = [(f"2026-01-31T{hour:02d}:00", key, 4, 0.5) for hour in range(20) for key in "abcd"]
    first, second = (order(groups, 16, 0.1, draw=draw) for draw in (0, 1))

    assert set(first[:16:2]) == set(second[:16:2])
    assert set(first[1:16:2]) != set(second[1:16:2])


def asked(window: str, *prompts: str, answers: tuple[str, ...] = ("YES", "NO")) -> Group:
    members = [
        Member(f"{prompt}{number}", number / 2, (LlmCall("m", (("user", prompt),), answer, 1.0),))
        for prompt in prompts
        for number, answer in enumerate(answers)
    ]
    return Group(window, "", tuple(members))


def test_a_group_says_which_hour_it_is_of_and_what_was_asked() -> None:
    old, new, same, other = places(
        [asked("h1", "q"), asked("h3", "q"), asked("h3", "q"), asked("h2", "r")]
    )

    assert [old.newest, new.newest, other.newest] == [False, True, True]
    assert new == same
    assert len({old, new, other}) == 3


def test_a_prompt_and_each_different_answer_are_counted_once() -> None:
    prompt = "x" * 400

    assert tokens(asked("h", prompt)) == tokens(asked("h", prompt, answers=("YES", "NO", "NO")))
    assert tokens(asked("h", prompt, "y" * 400)) == 2 * tokens(asked("h", prompt))


def test_within_a_window_no_name_of_a_key_can_choose_to_come_first() -> None:
    keys = [f"market=m-{n}" for n in range(20)]
    found = [key for _, key, _ in order([("w", key, 4, 0.5) for key in keys], 16, 0.1)]
    assert found == sorted(keys, key=lambda key: rank(f"w\0{key}"))
    assert found != sorted(keys)
