"""What served before may be worth more today: in a world that has turned over."""

from __future__ import annotations

import pytest

from babylon_tasks.dataset.diversity import GroupAnswers
from babylon_tasks.dataset.held_out import Place
from babylon_tasks.registry.look_back import choose_earlier, compared_until, find_better, is_due
from babylon_tasks.registry.promotion_gate import CheckpointFigures
from babylon_tasks.settings import Settings

SETTINGS = Settings(database_url="postgresql://localhost/babylon")
CHAIN = {step: step - 1 for step in range(1, 31)}
PLACES = [Place("2026-01-01T00:00", f"q{n}", newest=True) for n in range(16)]


def figures(step: int, values: list[float], entropy: float) -> CheckpointFigures:
    return CheckpointFigures(step, tuple(values), 1.0, (entropy,) * len(values))


COIN = figures(5, [0.48, 0.52] * 8, 0.69)
WRONG = figures(30, [0.03, 0.05] * 8, 0.1)
CONSTANT = figures(30, [0.05, 0.95] * 8, 0.05)


BIASED = figures(9, [0.7, 0.6] * 8, 0.3)


def test_to_learn_anew_what_says_most_is_taken_and_not_what_is_worth_most() -> None:
    chosen = [
        find_better(WRONG, [COIN, BIASED], PLACES, SETTINGS, anew=anew) for anew in (True, False)
    ]

    assert [found and found.step for found in chosen] == [COIN.step, BIASED.step]


def test_a_few_are_asked_the_near_ones_more_closely_and_the_first() -> None:
    assert choose_earlier(30, CHAIN, range(31)) == [29, 28, 26, 22, 15, 14, 7, 3, 1, 0]
    assert choose_earlier(30, CHAIN, {29, 28, 27}) == [29, 28, 27]
    assert choose_earlier(0, {}, range(31)) == []


def test_it_is_due_after_two_refusals_and_after_each_five() -> None:
    assert [refused for refused in range(16) if is_due(refused)] == [2, 5, 10, 15]


def test_since_a_drop_it_is_compared_again_once_a_quarter_more_groups_are_there() -> None:
    hours = [f"h{n:03d}" for n in range(100)]
    until = [compared_until(hours[:n], 4) for n in range(101)]

    compared = sorted({one for one in until if one is not None})
    assert until[:4] == [None] * 4
    assert len(compared) == 14
    assert compared[:6] == ["h003", "h004", "h006", "h008", "h011", "h014"]
    assert compared_until(["h000"] * 40 + ["h001"] * 5 + ["h002"] * 5, 4) == "h002"


def test_on_a_single_question_nothing_is_beyond_doubt() -> None:
    asked = [Place("2026-01-01T00:00", "the same", newest=True)] * 16

    assert find_better(WRONG, [COIN], asked, SETTINGS) is None


@pytest.mark.parametrize("serving", [WRONG, CONSTANT], ids=["surely wrong", "one answer to all"])
def test_a_coin_is_find_better_than_what_is_sure_for_nothing(serving: CheckpointFigures) -> None:
    found = find_better(serving, [COIN], PLACES, SETTINGS)

    if serving is WRONG:
        assert found is not None
        assert found.step == 5
        assert "checkpoint 5, which served before, is worth more today than 30" in found.reason
    else:
        assert found is None, "half of the questions go either way: that is in doubt on 16"


def test_on_enough_questions_diversity_is_find_better_than_one_answer_to_all() -> None:
    places = [Place("2026-01-01T00:00", f"q{n}", newest=True) for n in range(400)]
    coin, constant = figures(5, [0.5] * 400, 0.69), figures(30, [0.25, 0.75] * 200, 0.05)

    found = find_better(constant, [coin], places, SETTINGS)

    assert found is not None
    assert found.step == 5


def test_where_all_is_answered_the_same_what_says_more_leads_out_without_being_beyond_doubt() -> (
    None
):
    says = {"constant": {"rise": 0.94, "fall": 0.06}, "coin": {"rise": 0.5, "fall": 0.5}}
    recorded = [GroupAnswers("", says["coin"], "rise"), GroupAnswers("", says["coin"], "fall")] * 8
    constant = CheckpointFigures(30, (0.94, 0.06) * 8, 1.0, (0.2,) * 16, (says["constant"],) * 16)
    coin = CheckpointFigures(5, (0.5,) * 16, 1.0, (0.69,) * 16, (says["coin"],) * 16)

    assert find_better(constant, [coin], PLACES, SETTINGS, recorded) is not None
    assert find_better(coin, [constant], PLACES, SETTINGS, recorded) is None
    not_counted = CheckpointFigures(5, coin.values)
    assert find_better(constant, [not_counted], PLACES, SETTINGS, recorded) is None
    always_rise = [GroupAnswers("", says["coin"], "rise")] * 16
    assert find_better(constant, [coin], PLACES, SETTINGS, always_rise) is None, "it pays"


def test_what_is_right_keeps_serving() -> None:
    right = figures(30, [0.95] * 16, 0.15)

    assert find_better(right, [COIN, figures(1, [0.4] * 16, 1.5)], PLACES, SETTINGS) is None


def test_diversity_alone_at_a_loss_of_value_is_worth_nothing() -> None:
    assert (
        find_better(figures(30, [0.6] * 16, 0.1), [figures(1, [0.5] * 16, 3.0)], PLACES, SETTINGS)
        is None
    )


def test_the_best_of_several_is_taken() -> None:
    better = figures(9, [0.6, 0.64] * 8, 0.6)

    found = find_better(WRONG, [COIN, better], PLACES, SETTINGS)

    assert found is not None
    assert found.step == 9
    assert found.figures["compared"] == [5, 9]
