"""Freshness: which recorded calls belong to the lineage, and are young enough."""

from __future__ import annotations

from typing import Any

import pytest

from babylon_tasks.dataset.eligibility import (
    EXACT,
    NONE,
    PARENT,
    RESCORED,
    Policies,
    PolicyNames,
    UnfitCall,
    label,
    policies_of,
    policy_step,
)
from babylon_tasks.reasons import Reason
from babylon_tasks.records import LlmCall
from babylon_tasks.settings import Settings


def known(head: int, serving: int, **rest: Any) -> Policies:
    """A lineage named babylon, whose next step starts from what serves."""
    names = {"babylon@0": 0, "an-alias": 4}
    return Policies(
        lineage="babylon",
        base_model="smol",
        inference_names=names,
        head_step=head,
        serving_step=serving,
        parent_step=serving,
        **rest,
    )


POLICIES = known(5, 5, base_model_aliases=("house/smol", "huggingface"))


def call(model: str, step: int | None = None, **rest: Any) -> LlmCall:
    """An answer of one token that records all of it; ``rest`` replaces any."""
    parts = {"temperature": 1.0, "logprobs": (-1.0,), "token_ids": (7,), **rest}
    return LlmCall(model=model, messages=(("user", "?"),), response="up", policy_step=step, **parts)


def found(one: LlmCall, *allowed: str, policies: Policies = POLICIES) -> str:
    """The label of a call, or why it has none."""
    answer = label(one, policies, allowed or (EXACT,), max_staleness_steps=2)
    return answer.reason if isinstance(answer, UnfitCall) else answer


@pytest.mark.parametrize(
    ("model", "recorded", "step"),
    [
        ("babylon@3", None, 3),
        ("an-alias", None, 4),
        ("smol", None, 0),
        ("smol", 2, 2),
        ("house/smol", None, 0),
        ("huggingface", 2, 2),
        ("huggingface/smol", None, "other_policy"),
        ("babylon", 4, 4),
        ("babylon", None, "unknown_policy_step"),
        ("babylon-2@3", None, "other_policy"),
        ("xbabylon@3", None, "other_policy"),
        ("gpt-5", 3, "other_policy"),
        ("babylon@" + "9" * 5000, None, "other_policy"),  # int() would refuse it
        ("babylon@٣", None, "other_policy"),
        ("wandb-artifact:///team/games/babylon:step7", None, 7),
        ("wandb-artifact:///team/games/other:step7", None, "other_policy"),
    ],
)
def test_a_call_is_ours_by_the_name_it_asked_for(
    model: str, recorded: int | None, step: int | str
) -> None:
    assert policy_step(call(model, recorded), POLICIES) == step


@pytest.mark.parametrize(
    ("step", "expected"), [(2, "stale"), (3, "exact"), (5, "exact"), (6, "future_policy")]
)
def test_a_call_may_be_as_old_as_the_limit_and_not_older(step: int, expected: str) -> None:
    assert found(call(f"babylon@{step}")) == expected


def test_what_serves_is_never_stale_however_far_the_head_is_ahead() -> None:
    held = known(50, 5)

    labels = [found(call(f"babylon@{step}"), policies=held) for step in (5, 6, 48)]

    assert labels == ["exact", "stale", "exact"]


def test_a_call_is_as_old_as_its_place_in_the_tree_of_checkpoints_not_as_its_number() -> None:
    # 16 steps, of which 1 and 2 were promoted: 3 to 16 are dead branches of 2.
    tree = known(16, 2, ages={0: 2, 1: 1, 2: 0, 9: 1})

    def label_at(step: int) -> str | UnfitCall:
        return label(call(f"babylon@{step}"), tree, (EXACT,), max_staleness_steps=1)

    found = [label_at(step) for step in (2, 1, 0, 9)]

    assert found == ["exact", "exact", UnfitCall("stale"), "exact"]


NO_LOGPROBS = {"logprobs": None}
NOTHING = {"logprobs": None, "token_ids": None}


@pytest.mark.parametrize(
    ("parts", "reason"),
    [
        ({}, None),
        ({"token_ids": None, "tokens": (" up",)}, None),  # to be proven by the trainer
        ({"token_ids": None, "token_bytes": (b" up",)}, None),
        (NO_LOGPROBS, "no_logprobs"),
        ({"logprobs": ()}, "no_logprobs"),
        ({"token_ids": None}, "no_token_ids"),  # numbers of nobody knows which tokens
        ({"token_ids": (7, 2)}, "no_token_ids"),
        ({"tokens": (" up", "")}, "no_token_ids"),
        ({"temperature": 0.7}, "tempered"),
        ({"temperature": 0.0}, "tempered"),
        ({"top_p": 0.95}, "tempered"),
        ({"shaped": True}, "shaped"),
        ({"carries": "tools"}, "tools"),
        ({"carries": "images"}, "images"),
    ],
)
def test_a_call_is_exact_if_it_records_each_token_that_the_policy_itself_was_sampled_as(
    parts: dict[str, Any], reason: str | None
) -> None:
    assert found(call("babylon@5", **parts)) == (reason or "exact")


@pytest.mark.parametrize(
    ("step", "parts", "expected"),
    [
        (4, NO_LOGPROBS, "parent"),
        (3, NO_LOGPROBS, "not_parent"),
        (4, NOTHING, "no_token_ids"),
        (4, NO_LOGPROBS | {"temperature": 0.7}, "tempered"),
        (4, NO_LOGPROBS | {"top_p": 0.9}, "tempered"),
        (4, NO_LOGPROBS | {"shaped": True}, "shaped"),
    ],
)
def test_what_the_parent_itself_answered_needs_no_log_probabilities(
    step: int, parts: dict[str, Any], expected: str
) -> None:
    assert found(call(f"babylon@{step}", **parts), PARENT, policies=known(5, 4)) == expected


def test_what_a_checkpoint_of_the_lineage_answered_can_be_rescored() -> None:
    assert found(call("babylon@3", **NO_LOGPROBS), RESCORED) == "rescored"
    assert found(call("babylon@3", **NOTHING), RESCORED) == "no_token_ids"
    assert found(call("gpt-5", 3, **NO_LOGPROBS), RESCORED) == "other_policy"


def test_a_call_bears_the_first_of_the_allowed_labels_that_is_true_of_it() -> None:
    all_parts, no_parts = call("babylon@5"), call("babylon@5", **NOTHING)

    assert found(all_parts, EXACT, PARENT, NONE) == "exact"
    assert found(all_parts, PARENT, EXACT) == "parent"
    assert found(no_parts, EXACT, PARENT, RESCORED, NONE) == "none"
    assert found(no_parts, PARENT, EXACT) == "no_token_ids"


@pytest.mark.parametrize(
    ("one", "reason"),
    [
        (call("gpt-5"), "other_policy"),
        (call("babylon@2"), "stale"),
        (call("babylon@5", carries="tools"), "tools"),
    ],
)
def test_the_operator_may_let_in_what_says_little_but_not_what_is_another_question_or_policy(
    one: LlmCall, reason: str
) -> None:
    assert found(one, EXACT, NONE) == reason
    for parts in ({"temperature": 0.7, "logprobs": None}, {"shaped": True}):
        assert found(call("babylon@5", **parts), EXACT, NONE) == "none"


def test_a_step_starts_from_what_serves() -> None:
    tree = policies_of(
        Settings(_env_file=None, DATABASE_URL="postgresql://nobody@127.0.0.1:1/none"),
        head_step=4,
        serving_step=1,
        inference_names={},
        parents={4: 3},
    )

    assert (tree.serving_step, tree.parent_step) == (1, 1)
    assert tree.ages == {step: abs(step - 1) for step in range(5)}


def test_a_name_that_came_again_means_the_newest_checkpoint_from_its_next_hour_on() -> None:
    """At W&B, where the number of a discarded checkpoint comes again."""
    name = "wandb-artifact:///e/p/babylon:step3"
    names = PolicyNames(
        lineage="babylon",
        base_model="m",
        inference_names={name: 4},
        come_again={name: "2026-01-31T10:00"},
    )
    hours = ("2026-01-31T09:00", "2026-01-31T10:00", "2026-02-01T00:00", None)
    found = [policy_step(call(name), names, hour) for hour in hours]
    assert found == [Reason.OTHER_POLICY, 4, 4, 4]
