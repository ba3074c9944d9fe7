"""Nearly the same answer to everything is seen, and is no collapse where it is what pays."""

from __future__ import annotations

import pytest

from babylon_tasks.dataset.diversity import GroupAnswers
from babylon_tasks.dataset.read_answer import in_words
from babylon_tasks.registry.near_constant import collapse, compare_answers

RISES = [GroupAnswers("", {"rise": 0.5, "fall": 0.5}, "rise")] * 4
FALLS = [GroupAnswers("", {"rise": 0.5, "fall": 0.5}, "fall")] * 4
BALANCED = RISES + FALLS


def says(rise: float, groups: int = 8) -> list[dict[str, float]]:
    return [{"rise": rise, "fall": 1 - rise}] * groups


def collapsed(
    candidate: list[dict[str, float]],
    serving: list[dict[str, float]],
    recorded: list[GroupAnswers] = BALANCED,
    *,
    better: bool = False,
) -> str | None:
    return collapse(compare_answers(candidate, serving, recorded), better=better)


def test_nearly_the_same_to_everything_is_a_collapse() -> None:
    assert collapsed(says(0.97), says(0.6)) == (
        "97% of what it would say comes to rise, of what serves 60% to rise"
    )


def test_a_collapse_in_small_steps_is_stopped_where_nearly_all_would_be_the_same() -> None:
    assert collapsed(says(0.89), says(0.85)) is None
    assert collapsed(says(0.91), says(0.89)) is not None
    assert collapsed(says(0.98), says(0.97)) is not None, "nor does what serves become surer of it"


def test_a_collapse_to_words_that_nobody_can_act_upon_is_not_named_by_their_hash() -> None:
    hashed, empty = ([{name: 0.97}] * 8 for name in (in_words("who knows"), ""))

    assert collapsed(hashed, says(0.6)) == (
        "97% of what it would say comes to the same words, of what serves 60% to rise"
    )
    assert collapsed(empty, says(0.6)) == (
        "97% of what it would say comes to no words, of what serves 60% to rise"
    )


@pytest.mark.parametrize(("candidate", "serving"), [(0.89, 0.5), (0.97, 0.97), (0.96, 0.97)])
def test_less_than_that_or_where_what_serves_says_it_too_is_none(
    candidate: float, serving: float
) -> None:
    assert collapsed(says(candidate), says(serving)) is None


def test_a_collapse_is_seen_however_much_better_than_unreadable_answers_it_is() -> None:
    unreadable = [{"rise": 0.1, "fall": 0.1, "who knows": 0.3}] * 8

    assert collapsed(says(0.97), unreadable, better=True) is not None


def test_the_same_answer_to_everything_is_none_where_it_pays_best() -> None:
    assert collapsed(says(0.97), says(0.6), RISES * 2) is None


def test_what_all_did_alike_does_not_say_that_it_pays_or_what_else_would_be_said() -> None:
    alone = GroupAnswers("", {"rise": 0.3, "who knows": 0.7}, "rise", contested=False)
    recorded = [alone] * 20 + BALANCED
    falls = [{"rise": 0.0}] * 20 + says(0.03)

    assert collapsed(says(0.93, 28), says(0.6, 28), recorded) is not None, "it pays in 24 of 28"
    assert collapsed(falls, says(0.6, 28), recorded) is not None, "nobody else said so in 20"


def test_where_hardly_anybody_did_otherwise_all_groups_count() -> None:
    alone = GroupAnswers("", {"rise": 0.3, "who knows": 0.7}, "rise", contested=False)

    assert collapsed(says(0.97, 27), says(0.6, 27), [alone] * 20 + BALANCED[1:]) is not None
    assert collapsed(says(0.97, 27), says(0.6, 27), [alone] * 24 + RISES[1:]) is None


def test_settled_answers_are_a_collapse_unless_they_are_better_beyond_doubt() -> None:
    settled = says(0.999, 4) + says(0.001, 4)

    assert collapsed(settled, says(0.6)) == (
        "the entropy of what it would say is 0.008 nats, that of what serves 0.673"
    )
    assert collapsed(settled, says(0.6), better=True) is None
    assert collapsed(settled, says(0.995, 4) + says(0.005, 4)) is not None
    assert collapsed(settled, settled) is None, "what serves has settled as much"


def test_what_no_recorded_answer_covers_is_not_taken_for_settled() -> None:
    moved_away = [{"rise": 0.001}] * 8

    assert collapsed(moved_away, says(0.6)) is None
    assert collapsed(moved_away, [{"rise": 0.01}] * 8) is None


def test_a_collapse_in_one_kind_of_question_is_named() -> None:
    recorded = [
        GroupAnswers(kind, one.sampled, one.best)
        for kind in ("decision=post", "decision=trade")
        for one in BALANCED
    ]

    found = collapsed(says(0.5) + says(0.99), says(0.5, 16), recorded)

    assert found is not None
    assert found.startswith("decision=trade: 99%")


def test_a_few_groups_say_nothing() -> None:
    few = BALANCED[:3] + BALANCED[-4:]

    assert collapsed(says(0.99, 7), says(0.5, 7), few) is None
