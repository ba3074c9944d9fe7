"""The learning rate falls in a straight line and then stays."""

from __future__ import annotations

import pytest
from pydantic import SecretStr

from babylon_tasks.dataset.schedule import estimated_tokens, learning_rate
from babylon_tasks.records import Group, LlmCall, Member
from babylon_tasks.settings import Settings

SETTINGS = Settings(
    database_url=SecretStr("postgresql://u@h/d"),
    learning_rate=4e-4,
    final_learning_rate=4e-5,
    learning_rate_decay_steps=60,
)


@pytest.mark.parametrize(("step", "rate"), [(0, 4e-4), (30, 2.2e-4), (60, 4e-5), (1000, 4e-5)])
def test_the_rate_falls_linearly_to_its_final_value(step: int, rate: float) -> None:
    assert learning_rate(step, SETTINGS) == pytest.approx(rate)


def test_the_estimate_counts_prompts_and_every_recorded_token() -> None:
    calls = (LlmCall("m", (("user", "x" * 400),), "up", 1.0, logprobs=(-1.0,) * 7),)
    group = Group("w", "", (Member("a", 0.0, calls), Member("b", 1.0, calls)))

    assert estimated_tokens([group]) == 2 * (101 + 7)
