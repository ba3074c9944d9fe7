"""A step's ratios in one line, and how far its policy is from the one that answered."""

from __future__ import annotations

import math

import pytest
from hypothesis import given
from hypothesis import strategies as some

from babylon_tasks.step_metrics import (
    ANSWER_TOKENS,
    LARGEST_MISMATCH_KL,
    LEARNING_RATE,
    LOSS,
    MISMATCH_KL,
    RATIO_MEAN,
    in_short,
    least_mismatch_kl,
    supervised_in_short,
)


@given(some.lists(some.floats(1e-6, 1e6), min_size=1))
def test_the_mean_ratio_bounds_the_divergence_from_below(ratios: list[float]) -> None:
    divergence = math.fsum(ratio - 1 - math.log(ratio) for ratio in ratios) / len(ratios)

    least = least_mismatch_kl({RATIO_MEAN: math.fsum(ratios) / len(ratios)})

    assert least is not None
    assert least <= divergence * (1 + 1e-9) + 1e-9


@pytest.mark.parametrize(
    ("metrics", "least"),
    [
        ({MISMATCH_KL: 0.2, LARGEST_MISMATCH_KL: 0.7, RATIO_MEAN: 9.0}, 0.7),
        ({MISMATCH_KL: 0.2}, 0.2),
        ({RATIO_MEAN: 1.0}, 0.0),
        ({RATIO_MEAN: 0.0}, math.inf),
        ({"loss/train": 1.0}, None),
    ],
)
def test_what_is_reported_is_taken_before_what_follows_from_it(
    metrics: dict[str, float], least: float | None
) -> None:
    assert least_mismatch_kl(metrics) == least


def test_a_supervised_step_is_described_by_what_it_has() -> None:
    figures = {LOSS: 1.234, LEARNING_RATE: 0.002, ANSWER_TOKENS: 31.4, "loss/grad_norm": 0.5}

    assert supervised_in_short(figures) == (
        "loss 1.23, learning rate 0.002, tokens of an answer 31"
    )
    assert supervised_in_short({}) == ""


def test_only_what_is_reported_is_shown() -> None:
    assert in_short({RATIO_MEAN: 1.02, MISMATCH_KL: 0.0131, "loss/train": 0.5}) == (
        "importance ratio 1.02, KL to the policy that answered 0.0131"
    )
    assert in_short({"loss/train": 0.5}) == ""
    assert in_short({RATIO_MEAN: "nan"}) == "", "of a step that failed"
