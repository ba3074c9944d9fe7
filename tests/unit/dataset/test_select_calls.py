"""Which calls of a trajectory a step may learn from, one by one."""

from __future__ import annotations

import pytest

from babylon_tasks.dataset.eligibility import Policies
from babylon_tasks.dataset.select_calls import CallTerms, member, refuse, select_calls, without
from babylon_tasks.records import LlmCall, Trajectory

POLICIES = Policies(
    lineage="babylon", base_model="smol", head_step=5, serving_step=5, parent_step=5
)


def terms(label: str = "exact", *allowed: str) -> CallTerms:
    return CallTerms(POLICIES, label, allowed or (label,), max_staleness_steps=2)


def call(model: str = "babylon@5", logprobs: tuple[float, ...] | None = (-0.5,)) -> LlmCall:
    ids = None if logprobs is None else tuple(range(len(logprobs)))
    messages = (("user", "up or down?"),)
    return LlmCall(model, messages, "up", 1.0, logprobs=logprobs, token_ids=ids)


def trajectory(*calls: LlmCall) -> Trajectory:
    return Trajectory("t", "agent", None, None, None, None, (), calls)


@pytest.mark.parametrize(
    ("one", "reason"),
    [
        (call("babylon@2"), "stale"),
        (call("babylon@6"), "future_policy"),
        (call("qwen/qwen3-32b"), "other_policy"),
        (call(logprobs=None), "no_logprobs"),
        (call(logprobs=()), "no_logprobs"),
        (call("babylon"), "unknown_policy_step"),
    ],
)
def test_a_trajectory_without_a_call_to_learn_from_is_refused_with_the_reason(
    one: LlmCall, reason: str
) -> None:
    selected = select_calls(trajectory(one), terms())

    assert (selected.places, selected.reasons, selected.other_label) == ((), (reason,), False)
    refused = refuse(trajectory(one), selected.reasons)
    assert (refused.stage, refused.reason) == ("dataset", reason)
    assert refused.detail == f"1 of 1 calls; models: {one.model}"


def test_single_calls_are_left_out_while_the_others_stay_with_their_places() -> None:
    given = trajectory(call("gpt"), call(), call("babylon@4"))
    selected = select_calls(given, terms())
    made = member(given, 0.5, selected.places)

    assert (selected.places, selected.reasons) == ((1, 2), ("other_policy",))
    assert made.calls == (given.calls[1], given.calls[2])
    assert made.places == (1, 2)
    assert member(given, 0.5, (0, 1, 2)).places is None


def test_a_call_of_another_label_is_neither_taken_nor_refused() -> None:
    selected = select_calls(
        trajectory(call(logprobs=None), call("gpt")), terms("exact", "exact", "none")
    )

    assert (selected.places, selected.reasons, selected.other_label) == (
        (),
        ("other_policy",),
        True,
    )


def test_what_the_trainer_refuses_leaves_the_places_of_the_others_as_they_were() -> None:
    given = trajectory(call("gpt"), call(), call("babylon@4"), call("babylon@3"))
    held = member(given, 0.5, (1, 2, 3))

    left = without(held, {1})

    assert left.places == (1, 3)
    assert left.calls == (given.calls[1], given.calls[3])
    assert without(member(given, 0.5), {0}).places == (1, 2, 3)
    assert member(given, 0.5, left.places) == left


def test_minus_zero_is_zero() -> None:
    assert str(member(trajectory(call()), -0.0).reward) == "0.0"
