"""Whether two policies differ, by their answers and by how much one differs from itself."""

from __future__ import annotations

import asyncio
import math
import random

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from recorded import call, group, many
from wandb_answers import distribution

from babylon_tasks.errors import TrainingError
from babylon_tasks.faults import Fault
from babylon_tasks.training.policy_difference import (
    ASKS,
    MOST_ASKS,
    PROMPTS,
    Difference,
    Distribution,
    Messages,
    compare,
    measure,
    prompts_of,
)

few = settings(max_examples=20)  # each asks dozens of times
PROBE: list[Messages] = [(("user", f"Question {n}?"),) for n in range(PROMPTS)]


def asked(weights: str, noise: float, chance: random.Random) -> list[list[Distribution]]:
    """What a policy answers to the prompts, each time."""
    return [
        [distribution(f"{prompt} {weights}", chance, noise) for _ in range(ASKS)]
        for prompt in PROBE
    ]


def difference(parent: str, child: str, noise: float, seed: int = 0) -> Difference:
    chance = random.Random(seed)
    answers = zip(asked(parent, noise, chance), asked(child, noise, chance), strict=True)
    return compare(list(answers))


def test_the_same_numbers_are_the_same_weights() -> None:
    found = difference("a", "a", 0.0)

    assert found.proven is False
    assert "differ by 0.0e+00 nats, with a noise of 0.0e+00" in str(found.unmoved())


def test_other_numbers_again_and_again_are_other_weights() -> None:
    assert difference("a", "b", 0.0).proven is True


def in_ways(weights: str, ways: int, chance: random.Random) -> list[list[Distribution]]:
    """As a server answers in bf16: each of its ways has roundings of its own, of each policy.

    But for these the policies are the same: a step has moved less than they hide.
    """
    return [
        [
            distribution(str(prompt), random.Random(f"{prompt} {weights} {way}"), 0.06)
            for way in chance.choices(range(ways), k=2 * ASKS)
        ]
        for prompt in PROBE
    ]


@few
@given(st.integers(1, 3), st.integers(0, 10_000))
def test_a_server_that_computes_in_a_few_ways_tells_the_same_weights_from_others(
    ways: int, seed: int
) -> None:
    chance = random.Random(seed)
    parent = in_ways("parent", ways, chance)

    for child, moved in (("parent", False), ("child", True)):
        answers = zip(parent, in_ways(child, ways, chance), strict=True)
        assert compare(list(answers)).proven is moved


@few
@given(st.floats(1e-4, 5e-3), st.integers(0, 10_000))
def test_within_little_noise_nothing_has_moved(noise: float, seed: int) -> None:
    assert difference("a", "a", noise, seed).proven is False


@few
@given(st.floats(0.1, 1.0), st.integers(0, 10_000))
def test_within_much_noise_nobody_can_tell(noise: float, seed: int) -> None:
    found = difference("a", "a", noise, seed)

    assert found.proven is None
    assert found.unmoved() is None
    assert found.metrics()["policy/proven"] == 0.0


@few
@given(st.integers(0, 10_000))
def test_a_difference_beyond_the_noise_is_proof(seed: int) -> None:
    assert difference("a", "b", 0.1, seed).proven is True


@pytest.mark.parametrize(("apart", "moved"), [(1e-6, False), (1e-4, True)])
def test_what_rounding_makes_of_the_same_numbers_is_no_proof(apart: float, moved: bool) -> None:
    parent, child = {"yes": -0.5, "no": -1.0}, {"yes": -0.5 - apart, "no": -1.0 + apart}

    found = compare([([parent] * ASKS, [child] * ASKS)])

    assert found.proven is moved
    assert found.moved == pytest.approx(apart)


def test_a_token_that_is_not_listed_counts_as_probable_as_the_last_that_is() -> None:
    parent, child = {"yes": -0.5, "no": -3.0}, {"yes": -0.5, "maybe": -2.0}

    found = compare([([parent] * ASKS, [child] * ASKS)])

    # no: -3 and at most -2; maybe: at most -3 and -2
    assert found.moved == pytest.approx(math.sqrt(2 / 3))
    assert found.tokens == 3


def test_prompts_are_those_of_different_groups_and_without_groups_any() -> None:
    groups = [*many(PROMPTS + 1), group([(call(), 1.0), (call(), 0.0)], "again")]

    chosen = prompts_of(groups)

    assert chosen == [one.members[0].calls[0].messages for one in groups[:PROMPTS]]
    assert prompts_of([groups[0], groups[0]]) == chosen[:1]
    deep = group([(call(question="first?"), 1.0), (call(question="second?"), 0.0)], "deep")
    assert len(prompts_of([deep, *groups])) == PROMPTS
    assert [one[1][1] for one in prompts_of([deep])] == ["first?", "second?"]
    assert len(prompts_of([])) == PROMPTS


class _Refusal(Exception):
    status_code = 404


@pytest.mark.parametrize(
    ("error", "fault"),
    [
        (TimeoutError(), Fault.CONNECTION_LOST),
        (_Refusal("no such model"), Fault.SERVICE_REFUSES),  # a window's, of any other request
        (TrainingError("no `top_logprobs`", fault=Fault.SERVICE_REFUSES), Fault.SERVICE_REFUSES),
    ],
)
def test_what_cannot_be_asked_is_not_the_windows_fault(error: Exception, fault: Fault) -> None:
    async def ask(name: str, messages: Messages) -> Distribution:
        raise error

    with pytest.raises(TrainingError, match="whether the weights of child have moved") as failure:
        asyncio.run(measure(ask, PROBE, parent="parent", child="child", on_answer=lambda: None))

    assert failure.value.fault is fault


def test_both_are_asked_in_turn_and_each_answer_counts_as_progress() -> None:
    order: list[str] = []
    answers: list[None] = []

    async def ask(name: str, messages: Messages) -> Distribution:
        order.append(name)
        return {"yes": -0.5 if name == "parent" else -0.6}

    found = asyncio.run(
        measure(ask, PROBE, parent="parent", child="child", on_answer=lambda: answers.append(None))
    )

    assert order == ["parent", "child"] * PROMPTS * ASKS
    assert len(answers) == len(order)
    assert found.moved == pytest.approx(0.1)


@pytest.mark.parametrize(
    ("child", "noise", "asks"),
    [("parent", 0.0, ASKS), ("other", 0.1, ASKS), ("parent", 1e-3, MOST_ASKS)],
    ids=["surely the same", "surely another", "not sure"],
)
def test_they_are_asked_on_only_while_neither_is_sure(child: str, noise: float, asks: int) -> None:
    chance = random.Random(0)
    order: list[str] = []

    async def ask(name: str, messages: Messages) -> Distribution:
        order.append(name)
        weights = "parent" if name == "parent" else child
        return distribution(f"{messages} {weights}", chance, noise)

    asyncio.run(measure(ask, PROBE, parent="parent", child="child", on_answer=lambda: None))

    assert len(order) == 2 * PROMPTS * asks


def test_asked_often_enough_a_difference_below_the_noise_shows() -> None:
    chance = random.Random(0)

    async def ask(name: str, messages: Messages) -> Distribution:
        shift = 0.02 if name == "child" else 0.0
        found = distribution(str(messages), chance, 0.02)
        return {token: value + shift * (-1) ** n for n, (token, value) in enumerate(found.items())}

    found = asyncio.run(measure(ask, PROBE, parent="parent", child="child", on_answer=lambda: None))

    assert found.unmoved() is None
