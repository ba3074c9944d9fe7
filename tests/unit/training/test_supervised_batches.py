"""Which answers each gradient step of a supervised step takes, and at which rate."""

from __future__ import annotations

from collections import Counter
from itertools import groupby

from hypothesis import given
from hypothesis import strategies as st

from babylon_tasks.step_records import SupervisedConfig
from babylon_tasks.training.supervised_batches import batches


def config(epochs: int = 1, calls: int = 4, warmup: int = 0) -> SupervisedConfig:
    return SupervisedConfig(epochs, calls, warmup, top_share=0.25)


@given(st.integers(0, 40), st.integers(1, 4), st.integers(1, 9), st.integers(0, 99))
def test_each_epoch_takes_every_answer_once(count: int, epochs: int, size: int, seed: int) -> None:
    made = batches(range(count), config(epochs, size), learning_rate=1e-3, seed=seed)

    assert Counter(a for one in made for a in one.answers) == Counter([*range(count)] * epochs)
    assert all(1 <= len(one.answers) <= size for one in made)
    assert len(made) == epochs * -(-count // size)


def test_the_order_is_the_seeds() -> None:
    def order(seed: int) -> list[int]:
        made = batches(range(30), config(epochs=2), learning_rate=1e-3, seed=seed)
        return [answer for one in made for answer in one.answers]

    assert order(1) == order(1)
    assert order(1) != order(2)
    assert order(1)[:30] != order(1)[30:]


def test_the_rate_rises_and_stays() -> None:
    made = batches(range(24), config(warmup=4), learning_rate=0.4, seed=0)

    rates = [round(one.learning_rate, 6) for one in made]
    assert rates == [0.1, 0.2, 0.3, 0.4, 0.4, 0.4]


def test_without_a_warm_up_the_rate_is_the_same_from_the_start() -> None:
    made = batches(range(8), config(), learning_rate=0.4, seed=0)

    assert [one.learning_rate for one in made] == [0.4, 0.4]


@given(st.lists(st.integers(0, 9), max_size=40), st.integers(1, 9), st.integers(0, 99))
def test_answers_to_the_same_prompt_stay_together_up_to_half_of_a_gradient_step(
    prompts: list[int], size: int, seed: int
) -> None:
    answers = list(enumerate(prompts))
    made = batches(
        answers, config(calls=size), learning_rate=1e-3, seed=seed, alike=lambda one: one[1]
    )

    order = [one for batch in made for one in batch.answers]
    assert sorted(order) == answers
    runs = [len(list(run)) for _, run in groupby(order, key=lambda one: one[1])]
    blocks = sum(-(-count // max(1, size // 2)) for count in Counter(prompts).values())
    assert len(runs) <= blocks


def test_two_prompts_of_two_answers_make_a_gradient_step_of_four() -> None:
    answers = [(n, n % 6) for n in range(12)]
    made = batches(answers, config(), learning_rate=1e-3, seed=0, alike=lambda one: one[1])

    assert [len({prompt for _, prompt in batch.answers}) for batch in made] == [2, 2, 2]
