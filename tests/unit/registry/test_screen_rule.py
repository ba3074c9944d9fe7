"""The screen refuses what has collapsed, and hardly ever a policy that is the same."""

from __future__ import annotations

import random

import pytest
from hypothesis import given
from hypothesis import strategies as st
from msgspec import structs

from babylon_tasks.dataset.questions import ScreenedAnswer
from babylon_tasks.registry.screen_rule import (
    Against,
    Pair,
    ScreenResult,
    ScreenTerms,
    doubt,
    screen,
)
from bench.screen import Case, Policy, refusals

TERMS = ScreenTerms(min_questions=50, min_valid=0.5)
SERVING, RECORDED = Against.SERVING, Against.RECORDED


def answer(decides: str = "yes", **known: object) -> ScreenedAnswer:
    given = {"valid": True, "rightness": 1.0, "length": 20} | known
    return ScreenedAnswer(decides, **given)  # type: ignore[arg-type]


def serving(n: int) -> ScreenedAnswer:
    """What serves: half of its answers are YES, three of five are right."""
    return answer("yes" if n % 2 else "no", rightness=float(n % 5 < 3))


def pairs(*candidates: ScreenedAnswer, count: int = 100) -> list[Pair]:
    return [(candidates[n % len(candidates)], serving(n)) for n in range(count)]


def test_the_same_answers_pass_and_the_result_says_how_many_it_saw() -> None:
    found = screen([(serving(n), serving(n)) for n in range(100)], SERVING, TERMS)

    assert found.result is ScreenResult.PASSED
    assert "on 100 held-out questions (100 with a known outcome)" in found.reason
    assert found.figures["questions"] == 100


def test_with_too_few_questions_nothing_is_decided() -> None:
    found = screen(pairs(answer("?", valid=False), count=49), SERVING, TERMS)

    assert found.result is ScreenResult.TOO_FEW
    assert found.reason == "49 held-out questions of at least 50"


@pytest.mark.parametrize(
    ("collapsed", "why"),
    [
        (answer("gibberish", valid=False, rightness=0.0), "valid answers 100.0% before, 0.0% now"),
        (answer("loop", repeats=True), "repeat themselves 0.0% before, 100.0% now"),
        (answer(length=0), "a mean length of 0 after 20"),
        (answer(length=41), "a mean length of 41 after 20"),
        (answer(rightness=0.0), "right ones of 100 60.0% before, 0.0% now"),
    ],
)
def test_a_collapse_is_refused(collapsed: ScreenedAnswer, why: str) -> None:
    found = screen(pairs(collapsed, answer("no", length=collapsed.length)), SERVING, TERMS)
    whole = screen(pairs(collapsed), SERVING, TERMS)

    assert whole.result is ScreenResult.REFUSED
    assert why in whole.reason
    assert "come to the same" not in found.reason


def test_the_same_answer_to_everything_is_refused_unless_it_is_right() -> None:
    constant = screen(
        [(answer("no", rightness=float(n % 5 < 3)), serving(n)) for n in range(100)], SERVING, TERMS
    )
    right = screen(pairs(answer("no", rightness=1.0)), SERVING, TERMS)

    assert constant.result is ScreenResult.REFUSED
    assert "100% of the answers come to the same, 50% before" in constant.reason
    assert right.result is ScreenResult.PASSED


def test_a_little_worse_is_not_collapse() -> None:
    few = [structs.replace(serving(n), valid=n >= 3) for n in range(100)]

    found = screen([(one, serving(n)) for n, one in enumerate(few)], SERVING, TERMS)

    assert found.result is ScreenResult.PASSED
    assert "valid 100.0% before, 97.0% now" in found.reason


def test_unknown_outcomes_count_for_nothing_and_the_result_says_so() -> None:
    found = screen(
        pairs(answer("yes", rightness=None), answer("no", rightness=None)), SERVING, TERMS
    )

    assert found.result is ScreenResult.PASSED
    assert "rightness not compared" in found.reason
    assert found.figures["known"] == 0


def test_beside_another_models_answers_only_absolute_bounds_count() -> None:
    """Its answers may be better and longer: a warm start is not refused for that."""
    warm = pairs(answer("yes", length=5), answer("no", length=5, valid=False, rightness=0.0))
    worse = pairs(answer(), answer("no", valid=False), answer("?", valid=False))

    assert screen(warm, SERVING, TERMS).result is ScreenResult.REFUSED
    assert screen(warm, RECORDED, TERMS).result is ScreenResult.PASSED
    refused = screen(worse, RECORDED, TERMS)
    assert refused.result is ScreenResult.REFUSED
    assert "34% valid answers of at least 50%" in refused.reason


@given(st.lists(st.sampled_from([-1.0, 0.0, 0.5, 1.0]), max_size=60))
def test_doubt_is_a_probability_and_exact(differences: list[float]) -> None:
    falls, rises = sum(d < 0 for d in differences), sum(d > 0 for d in differences)
    found = doubt(differences)

    assert 0 < found <= 1
    if rises == 0:
        assert found == 0.5**falls


@given(st.integers(0, 10**6))
def test_the_order_of_the_questions_does_not_count(seed: int) -> None:
    some = pairs(answer("yes", valid=False), answer("no"), answer("no", rightness=0.0))
    mixed = random.Random(seed).sample(some, len(some))

    assert screen(mixed, SERVING, TERMS).result is screen(some, SERVING, TERMS).result


# Over seeded paths; bench/screen.py makes the whole table (docs/decisions.md).
@pytest.mark.parametrize("valid", [0.3, 0.98])
def test_of_equal_policies_at_most_one_in_a_hundred_is_refused(valid: float) -> None:
    same = Policy(valid, 0.6)

    assert refusals(Case("equal", same, same), 200, 300, seed=1)[0] <= 0.01


@pytest.mark.parametrize(
    "now", [Policy(0.78, 0.7), Policy(0.98, 0.45), Policy(1.0, 0.5, constant=True)]
)
def test_collapses_are_seen(now: Policy) -> None:
    assert refusals(Case("collapse", Policy(0.98, 0.7), now), 200, 100, seed=1)[0] >= 0.95
