"""How different answers are: by what they come to, not by their words."""

from __future__ import annotations

import math
from statistics import fmean

import pytest

from babylon_tasks.dataset.diversity import (
    answers,
    by_kind,
    in_short,
    is_contested,
    sampled,
    says,
)
from babylon_tasks.dataset.keys import kind_of_key
from babylon_tasks.records import Group, LlmCall, Member

QUESTION = (("user", "Market m-1. Will it rise? Yes or No?"),)


def group(*said: str, key: str = "s", paid: str = "") -> Group:
    return Group(
        "h",
        key,
        tuple(
            Member(f"{n}", float(text == paid), (LlmCall("m", QUESTION, text, 1.0),))
            for n, text in enumerate(said)
        ),
    )


def in_calls(*said: str) -> Member:
    """One who was asked several times, for an action and for words."""
    return Member(" ".join(said), 0.5, tuple(LlmCall("m", QUESTION, text, 1.0) for text in said))


def test_answers_that_come_to_the_same_are_the_same_whatever_their_words() -> None:
    (found,) = answers([group("Yes", "YES.", '{"action": "buy_yes"}', "No")])

    assert found.sampled == {"rise": 0.75, "fall": 0.25}


def test_answers_that_nobody_can_act_upon_are_told_apart_by_their_words() -> None:
    (found,) = answers([group("well,  perhaps", "Well, perhaps", "who knows", "")])

    assert sorted(found.sampled.values()) == [0.25, 0.25, 0.5]


def test_who_does_the_same_in_each_step_says_one_thing() -> None:
    call, other = (LlmCall("m", QUESTION, text, 1.0) for text in ("Yes", "No"))
    members = [Member("a", 1.0, (call, call)), Member("b", 0.0, (call,))]

    assert sampled(members) == {"rise": 1.0}
    assert sampled([Member("a", 1.0, (call, other, call))]) == {"fall+rise": 1.0}


def test_what_is_said_beside_an_act_is_no_difference() -> None:
    members = (in_calls("So I think", "low rates", "Yes"), in_calls("Yes", "Well then"))
    silent = [in_calls("Well", "then"), in_calls("THEN", "well"), in_calls("well")]

    assert sampled(members) == {"rise": 1.0}
    assert sorted(sampled(silent).values()) == [1 / 3, 2 / 3], "of who did nothing, all the words"
    assert not is_contested(Group("h", "s", members))
    assert is_contested(Group("h", "s", (*members, in_calls("No", "Well then"))))


def test_what_paid_best_is_known_by_its_mean_reward() -> None:
    assert answers([group("Yes", "No", "No", paid="No")])[0].best == "fall"


def test_of_what_paid_the_same_that_counts_which_most_did_and_no_name_or_rounding() -> None:
    liked, posted = '{"action": "LIKE"}', '{"action": "POST", "content": "to the moon"}'
    paid = {liked: 0.7, posted: 0.7, "WAIT": 0.1}

    def found(*said: str) -> str:
        calls = [(text, LlmCall("m", QUESTION, text, 1.0)) for text in said]
        members = [Member(f"{n}", paid[text], (call,)) for n, (text, call) in enumerate(calls)]
        return answers([Group("h", "s", tuple(members))])[0].best

    assert fmean([0.7] * 3) < 0.7
    assert found(posted, "WAIT", liked, liked, liked) == "like"
    assert found(liked, "WAIT", posted, posted, posted) == "post"
    assert found(liked, "WAIT", "WAIT", "WAIT") == "like", "what most did paid less"


def test_a_group_is_contested_where_two_who_could_act_acted_differently() -> None:
    assert is_contested(group("Yes", "No", "who knows"))
    assert not is_contested(group("Yes", "YES.", "who knows", "well, perhaps"))
    assert not is_contested(group("who knows", "well, perhaps"))
    assert [one.contested for one in answers([group("Yes", "No"), group("Yes")])] == [True, False]


def test_share_and_entropy_are_means_over_the_groups_of_a_kind() -> None:
    found = by_kind(["a", "a", "b"], [{"rise": 1.0}, {"rise": 0.5, "fall": 0.5}, {"fall": 0.9}])

    assert (found["a"].groups, found["a"].commonest, found["a"].share) == (2, "rise", 0.75)
    assert found["a"].entropy == pytest.approx(math.log(2) / 2)
    rest = -0.9 * math.log(0.9) - 0.1 * math.log(0.1)
    assert found["b"].entropy == pytest.approx(rest), "what was never said counts as one answer"


def test_a_kind_of_question_is_what_the_key_says_of_archetype_and_decision() -> None:
    assert kind_of_key("s-1|archetype=trader|decision=post|market=m-1") == (
        "archetype=trader, decision=post"
    )
    assert kind_of_key("m-1") == ""


def test_without_any_answer_nothing_is_commonest() -> None:
    assert by_kind(["a"], [{}])["a"].share == 0.0


def test_an_empty_answer_to_everything_is_one_answer_to_everything() -> None:
    silent = answers([group("", " ", "Yes")] * 2)
    found = by_kind([one.kind for one in silent], [one.sampled for one in silent])

    assert found[""].share == pytest.approx(2 / 3)


@pytest.mark.parametrize(
    ("said", "named"),
    [
        (("Yes",), "rise"),
        (("Yes", "WAIT"), "nothing+rise"),
        (("",), "no words"),
        (("who knows",), "the same words"),
        (("who knows", "well"), "the same words"),
        (("", "well"), "the same words"),
    ],
)
def test_what_answers_come_to_is_named_for_people(said: tuple[str, ...], named: str) -> None:
    assert in_short(says(in_calls(*said))) == named
