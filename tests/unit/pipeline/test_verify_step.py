"""Verification: what the backend calls a success must have taught something."""

from __future__ import annotations

from typing import Any

import msgspec
import pytest

from babylon_tasks.pipeline.verify_step import is_worthless, verify
from babylon_tasks.step_metrics import MISMATCH_KL, RATIO_MEAN
from babylon_tasks.step_records import StepResult

SOUND = StepResult(4, 3, 120, "new", "old", "uri", "babylon@4", "hash", {"loss": 0.5})


def test_a_sound_result_counts() -> None:
    assert verify(3, SOUND, "hash") is None


def test_the_first_step_has_no_adapter_to_compare_with() -> None:
    first = msgspec.structs.replace(SOUND, step=1, base_adapter_hash=None)

    assert verify(0, first, "hash") is None


@pytest.mark.parametrize(
    ("change", "word"),
    [
        ({"step": 3}, "step 3"),
        ({"step": 5}, "step 5"),
        ({"gradient_steps": 0}, "gradient"),
        ({"trainable_tokens": 0}, "token"),
        ({"trainable_tokens": 0, "not_reported": ("trained tokens",)}, "no number of trained"),
        ({"adapter_hash": None}, "no adapter"),
        ({"adapter_hash": "old"}, "same"),
        ({"unmoved": "0.0 nats apart"}, "the weights did not move: 0.0 nats apart"),
        ({"manifest_hash": "other"}, "manifest"),
        ({"not_finite": {"loss": "nan"}}, "loss"),
        ({"not_finite": {"loss": "inf"}}, "loss"),
    ],
)
def test_anything_less_does_not_count_and_says_why(change: dict[str, Any], word: str) -> None:
    problem = verify(3, msgspec.structs.replace(SOUND, **change), "hash")

    assert problem is not None
    assert word in problem


@pytest.mark.parametrize(
    ("metrics", "words"),
    [
        ({MISMATCH_KL: 1.5}, "at least 1.5 nats per token"),
        ({RATIO_MEAN: 4.0}, "at least 1.61 nats per token"),  # 4 - 1 - ln 4
        ({RATIO_MEAN: 0.0}, "at least inf"),
        ({MISMATCH_KL: 0.9, RATIO_MEAN: 40.0}, None),  # the KL itself is known
        ({RATIO_MEAN: 1.0}, None),
        ({}, None),  # what a backend does not report cannot be checked
    ],
)
def test_a_step_whose_importance_ratios_exploded_does_not_count(
    metrics: dict[str, float], words: str | None
) -> None:
    result = msgspec.structs.replace(SOUND, metrics=metrics)

    problem = verify(3, result, "hash", max_mismatch_kl=1.0)

    if words is None:
        assert problem is None
    else:
        assert problem is not None
        assert "importance ratios exploded" in problem
        assert words in problem
        assert "BABYLON_MAX_MISMATCH_KL=1" in problem
        assert not is_worthless(result)
    assert verify(3, result, "hash") is None, "without a bound nothing is refused"


@pytest.mark.parametrize(
    ("change", "worthless"),
    [
        ({"gradient_steps": 0}, False),
        ({"trainable_tokens": 0}, False),
        ({"not_reported": ("trained tokens",)}, False),
        ({"manifest_hash": "other"}, False),
        ({"unmoved": "0.0 nats apart"}, False),
        ({"adapter_hash": "old"}, True),
        ({"adapter_hash": None}, True),
        ({"not_finite": {"loss": "nan"}}, True),
    ],
)
def test_a_checkpoint_is_given_up_only_where_nothing_is_lost(
    change: dict[str, Any], worthless: bool
) -> None:
    assert is_worthless(msgspec.structs.replace(SOUND, **change)) is worthless
