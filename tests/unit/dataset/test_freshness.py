"""Freshness: which recorded calls belong to the lineage, and are young enough."""

from __future__ import annotations

import pytest

from babylon_tasks.dataset.freshness import Policies, exact, fault, policy_step
from babylon_tasks.records import LlmCall

POLICIES = Policies("babylon", "smol", 5, {"babylon@0": 0, "an-alias": 4})


def call(
    model: str, step: int | None = None, **rest: tuple[float, ...] | tuple[int, ...]
) -> LlmCall:
    return LlmCall(model, (("user", "?"),), "up", 1.0, policy_step=step, **rest)  # type: ignore[arg-type]


@pytest.mark.parametrize(
    ("model", "recorded", "step"),
    [
        ("babylon@3", None, 3),
        ("an-alias", None, 4),
        ("smol", None, 0),
        ("smol", 2, 2),
        ("babylon", 4, 4),
        ("babylon", None, "unknown_policy_step"),
        ("babylon-2@3", None, "other_policy"),
        ("xbabylon@3", None, "other_policy"),
        ("gpt-5", 3, "other_policy"),
        ("wandb-artifact:///team/games/babylon:step7", None, 7),
        ("wandb-artifact:///team/games/other:step7", None, "other_policy"),
    ],
)
def test_a_call_is_ours_by_the_name_it_asked_for(
    model: str, recorded: int | None, step: int | str
) -> None:
    assert policy_step(call(model, recorded), POLICIES) == step


@pytest.mark.parametrize(
    ("step", "reason"), [(2, "stale"), (3, None), (5, None), (6, "future_policy")]
)
def test_a_call_may_be_as_old_as_the_limit_and_not_older(step: int, reason: str | None) -> None:
    found = fault(
        call(f"babylon@{step}", logprobs=(-1.0,)),
        POLICIES,
        max_staleness_steps=2,
        allow_without_logprobs=False,
    )

    assert found == reason


def test_what_serves_is_never_stale_however_far_the_head_is_ahead() -> None:
    held = Policies("babylon", "smol", 50, {}, serving_step=5)

    def found(step: int) -> str | None:
        one = call(f"babylon@{step}", logprobs=(-1.0,))
        return fault(one, held, max_staleness_steps=2, allow_without_logprobs=False)

    assert (found(5), found(6), found(48)) == (None, "stale", None)


def test_a_call_is_as_old_as_its_place_in_the_tree_of_checkpoints_not_as_its_number() -> None:
    # 16 steps, of which 1 and 2 were promoted: 3 to 16 are dead branches of 2.
    tree = Policies("babylon", "smol", 16, {}, 2, {0: 2, 1: 1, 2: 0, 9: 1})

    def found(step: int) -> str | None:
        one = call(f"babylon@{step}", logprobs=(-1.0,))
        return fault(one, tree, max_staleness_steps=1, allow_without_logprobs=False)

    assert [found(step) for step in (2, 1, 0, 9)] == [None, None, "stale", None]


def test_logprobs_are_exact_only_with_one_for_each_token() -> None:
    assert exact(call("babylon@5", logprobs=(-1.0, -0.1), token_ids=(7, 2)))
    assert not exact(call("babylon@5", logprobs=(-1.0,), token_ids=(7, 2)))
    assert not exact(call("babylon@5"))


def test_the_operator_may_let_in_calls_without_logprobs_but_not_of_others() -> None:
    rule = {"max_staleness_steps": 2, "allow_without_logprobs": True}

    assert fault(call("babylon@5"), POLICIES, **rule) is None  # type: ignore[arg-type]
    assert fault(call("gpt-5"), POLICIES, **rule) == "other_policy"  # type: ignore[arg-type]
