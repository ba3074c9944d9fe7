"""The learning rate falls in a straight line and then stays."""

from __future__ import annotations

import pytest
from pydantic import SecretStr

from babylon_tasks.dataset.schedule import estimated_tokens, learning_rate, row_length
from babylon_tasks.dataset.training_defaults import training_values
from babylon_tasks.records import LlmCall, Member
from babylon_tasks.settings import Settings

SETTINGS = Settings(
    database_url=SecretStr("postgresql://u@h/d"),
    learning_rate=4e-4,
    final_learning_rate=4e-5,
    learning_rate_decay_steps=60,
)
VALUES = training_values(SETTINGS, "cpu", None)


@pytest.mark.parametrize(("step", "rate"), [(0, 4e-4), (30, 2.2e-4), (60, 4e-5), (1000, 4e-5)])
def test_the_rate_falls_linearly_to_its_final_value(step: int, rate: float) -> None:
    assert learning_rate(step, 1.0, VALUES, SETTINGS) == pytest.approx(rate)


def test_a_window_that_teaches_little_moves_the_weights_little() -> None:
    assert learning_rate(60, 0.25, VALUES, SETTINGS) == pytest.approx(1e-5)
    careless = SETTINGS.model_copy(update={"learning_rate_spread_power": 0.0})
    assert learning_rate(60, 0.25, VALUES, careless) == pytest.approx(4e-5)


def test_the_first_steps_are_small_where_a_warm_up_is_set() -> None:
    warm = SETTINGS.model_copy(update={"learning_rate_warmup_steps": 8})
    assert learning_rate(0, 1.0, VALUES, warm) == pytest.approx(1e-4)
    assert learning_rate(30, 1.0, VALUES, warm) == learning_rate(30, 1.0, VALUES, SETTINGS)


def test_each_refusal_halves_the_rate_down_to_a_sixteenth() -> None:
    rates = [learning_rate(30, 1.0, VALUES, SETTINGS, refused=count) for count in range(7)]
    assert [rate / rates[0] for rate in rates] == pytest.approx(
        [1, 1 / 2, 1 / 4, 1 / 8, 1 / 16, 1 / 16, 1 / 16]
    )


def test_the_estimate_counts_prompts_and_every_recorded_token() -> None:
    calls = (LlmCall("m", (("user", "x" * 400),), "up", 1.0, logprobs=(-1.0,) * 7),)

    assert estimated_tokens([Member("a", 0.0, calls), Member("b", 1.0, calls)]) == 2 * (101 + 7)


def test_an_answer_without_tokens_is_estimated_by_its_length() -> None:
    calls = (LlmCall("m", (("user", "x" * 400), ("user", "y" * 7)), "z" * 40, 1.0),)

    assert estimated_tokens([Member("a", 0.0, calls)]) == 102 + 11


@pytest.mark.parametrize(
    ("longest", "length"),
    [(60, 512), (512, 512), (513, 1024), (1500, 2048), (9000, 4096), (0, 4096)],
)
def test_rows_are_as_long_as_the_data_need_and_never_longer_than_the_setting(
    longest: int, length: int
) -> None:
    assert row_length(longest, 4096) == length
