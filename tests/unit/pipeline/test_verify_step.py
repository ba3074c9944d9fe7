"""Verification: what the backend calls a success must have taught something."""

from __future__ import annotations

from typing import Any

import msgspec
import pytest

from babylon_tasks.pipeline.verify_step import is_worthless, verify
from babylon_tasks.records import StepResult

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
