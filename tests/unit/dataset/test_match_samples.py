"""A recorded call finds the capture of its own answer, or none: never another's."""

from __future__ import annotations

import random
from array import array
from datetime import timedelta
from typing import Any
from uuid import UUID

import pytest

from babylon_tasks.dataset.match_samples import (
    UnsampledCall,
    as_sampled,
    match_samples,
    unsampled_calls,
)
from babylon_tasks.dataset.text_hashes import text_hashes
from babylon_tasks.records import CallPlace, CapturedSample, LlmCall, Trajectory
from babylon_tasks.windows import window_id, window_start

WINDOW, BEFORE, AFTER = "2026-01-31T09:00", "2026-01-31T08:00", "2026-01-31T10:00"


def call(answer: str = "buy", **fields: Any) -> LlmCall:
    messages = (("system", "You trade."), ("user", "Up or down?"))
    return LlmCall(**{"model": "huggingface", "messages": messages, "response": answer,
                      "temperature": 1.0, **fields})  # fmt: skip


def wanted(trajectory_id: str = "t", answer: str = "buy", agent: str = "a") -> UnsampledCall:
    one = call(answer)
    texts = text_hashes(one.messages, one.response)
    return UnsampledCall(CallPlace(trajectory_id, 0), agent, texts)


def sample(number: int = 1, answer: str = "buy", **fields: Any) -> CapturedSample:
    one = call(answer)
    texts = text_hashes(one.messages, one.response)
    window = fields.get("window_id", WINDOW)
    values: dict[str, Any] = {
        "capture_id": UUID(int=number),
        "asked_at": window_start(window) + timedelta(seconds=number),
        "window_id": window,
        "agent": "a",
        "lineage": "babylon",
        "step": 3,
        "system_hash": texts.system,
        "user_hash": texts.user,
        "answer_hash": texts.answer,
        "exact": True,
        "token_ids": array("i", [5, 2]).tobytes(),
        "logprobs": array("f", [-0.5, -0.25]).tobytes(),
        "temperature": 1.0,
        "top_p": 1.0,
        "with_tools": False,
        "finish_reason": "stop",
        "prompt_tokens": 9,
        "completion_tokens": 2,
    }
    return CapturedSample(**{**values, **fields})


def joined(
    calls: list[UnsampledCall], samples: list[CapturedSample], *taken: int
) -> dict[str, int | str]:
    """The number of the capture of each trajectory, or that it is ambiguous."""
    found = match_samples(WINDOW, calls, samples, [UUID(int=one) for one in taken])
    numbers: dict[str, int | str] = {
        where.trajectory_id: one.capture_id.int for where, one in found.found.items()
    }
    return numbers | {where.trajectory_id: "ambiguous" for where in found.ambiguous}


@pytest.mark.parametrize(
    ("samples", "found"),
    [
        ([sample(1)], {"t": 1}),
        ([sample(1, "sell")], {}),
        ([sample(1, agent="b")], {}),
        ([sample(1, window_id=BEFORE)], {"t": 1}),
        ([sample(1, window_id=AFTER)], {"t": 1}),
        ([sample(1, window_id=BEFORE), sample(2)], {"t": 2}),
        ([sample(1, agent=None), sample(2, window_id=AFTER)], {"t": 2}),
        ([sample(1, agent=None, window_id=BEFORE), sample(2, agent=None)], {"t": 2}),
        # A name out of the prompt is as good as none: the prompts are equal by their hashes.
        ([sample(1, agent="Ana", from_prompt=True)], {"t": 1}),
        ([sample(1, agent="Ana", from_prompt=True, window_id=BEFORE), sample(2, agent=None)],
         {"t": 2}),
        ([sample(1, agent="Ana", from_prompt=True), sample(2, from_prompt=True)], {"t": 2}),
        # What differs in nothing is the same, whichever it is.
        ([sample(1), sample(2)], {"t": 1}),
        ([sample(1), sample(2, step=4)], {"t": "ambiguous"}),
        ([sample(1), sample(2, lineage="other")], {"t": "ambiguous"}),
        ([sample(1), sample(2, step=None, model="qwen/q")], {"t": "ambiguous"}),
        ([sample(1, step=None, model="m"), sample(2, step=None, model="q")], {"t": "ambiguous"}),
        ([sample(1), sample(2, token_ids=b"\1\0\0\0\2\0\0\0")], {"t": "ambiguous"}),
        ([sample(1), sample(2, temperature=0.5)], {"t": "ambiguous"}),
        ([sample(1), sample(2, exact=False, token_ids=None)], {"t": "ambiguous"}),
        # The nearest that has any decides, also where its only one is another's already.
        ([sample(1, trajectory_id="u", place=0), sample(2, window_id=AFTER)], {}),
        ([sample(1, trajectory_id="u", place=0), sample(2, agent=None)], {}),
        ([sample(1, trajectory_id="u", place=0), sample(2, step=4)], {"t": 2}),
        # Its own stays its own, whatever has come since; not once the row is rewritten.
        ([sample(1), sample(2, step=4, trajectory_id="t", place=0)], {"t": 2}),
        ([sample(1, "sell", trajectory_id="t", place=0), sample(2)], {"t": 2}),
    ],
)  # fmt: skip
def test_the_nearest_capture_of_the_same_texts_is_the_calls(
    samples: list[CapturedSample], found: dict[str, int | str]
) -> None:
    assert joined([wanted()], samples) == found


def test_no_capture_is_taken_twice() -> None:
    three = [wanted("t"), wanted("u"), wanted("v")]
    assert joined(three, [sample(1), sample(2)]) == {"t": 1, "u": 2}
    assert joined(three, [sample(1), sample(2)], 1) == {"t": 2}


def test_of_many_equal_decisions_each_gets_one_of_its_own_agent_and_checkpoint() -> None:
    """10,000 calls of which a third have the same texts as others; nothing is joined wrongly."""
    draw = random.Random(10)
    calls, samples = [], []
    for number in range(10_000):
        agent = f"agent-{number % 50}"
        answer = "hold" if draw.random() < 0.3 else f"answer {number}"
        step = 3 if number < 5_000 else 4  # a promotion in the middle of the hour
        calls.append(wanted(f"t-{number}", answer, agent))
        if draw.random() < 0.95:  # the others were lost
            samples.append(sample(number, answer, agent=agent, step=step))
    draw.shuffle(calls)
    samples.sort(key=lambda one: one.capture_id.int)
    matches = match_samples(WINDOW, calls, samples)
    of = {call.where: call for call in calls}
    used = [one.capture_id for one in matches.found.values()]
    assert len(used) == len(set(used))
    for where, one in matches.found.items():
        assert one.agent == of[where].agent_id
        assert one.answer_hash == of[where].texts.answer
        assert where.trajectory_id == f"t-{one.capture_id.int}"
    held = text_hashes((), "hold").answer
    assert {of[where].texts.answer for where in matches.ambiguous} == {held}
    unique = sum(one.answer_hash != held for one in samples)
    assert len(matches.found) == unique


def test_what_was_done_stays_as_recorded_and_how_it_was_sampled_is_the_captures() -> None:
    recorded = call("buy", policy_step=None, tokens=("b",), completion_tokens=7)
    made = as_sampled(recorded, sample(top_p=0.9, temperature=0.7))
    assert (made.messages, made.response) == (recorded.messages, recorded.response)
    assert (made.model, made.policy_step) == ("babylon@3", 3)
    assert (made.token_ids, made.logprobs) == ((5, 2), (-0.5, -0.25))
    assert (made.tokens, made.token_bytes) == (None, None)
    assert (made.temperature, made.top_p) == (0.7, 0.9)
    assert (made.finish_reason, made.prompt_tokens, made.completion_tokens) == ("stop", 9, 2)


def test_without_exact_tokens_only_the_checkpoint_is_known() -> None:
    made = as_sampled(call(), sample(exact=False))
    assert (made.model, made.token_ids, made.logprobs) == ("babylon@3", None, None)
    assert as_sampled(call(), sample(exact=False, with_tools=True)).carries == "tools"


def test_what_a_parameter_shaped_is_so_whatever_ids_the_agent_recorded() -> None:
    recorded = call(token_ids=(5, 2))
    assert as_sampled(recorded, sample(exact=False, shaped=True)).shaped is True
    assert not as_sampled(recorded, sample(exact=False)).shaped
    # The gateway knows what was asked; the record may name a default that was never sent.
    told = call(shaped=True)
    assert as_sampled(told, sample(exact=False)).shaped is True
    assert not as_sampled(told, sample()).shaped


def test_a_call_is_looked_for_where_it_lacks_its_tokens_or_their_log_probabilities() -> None:
    calls = (
        call(),
        call(logprobs=(-0.5,)),
        call(token_ids=(1,)),
        call(logprobs=(-0.5,), token_ids=(1,)),
        call(logprobs=(-0.5,), tokens=("b",)),
        call(carries="tools"),
    )
    one = Trajectory("t", "agent", None, None, None, None, (), calls)
    assert [found.where.place for found in unsampled_calls([one])] == [0, 1, 2]


@pytest.mark.parametrize(
    ("messages", "same"),
    [
        ([("system", ""), ("user", "q")], True),  # as Babylon stores a missing one
        ([("user", "q")], True),
        ([("system", "s"), ("user", "q")], False),
        ([("user", "q ")], False),
        ([("assistant", "q")], False),
        ([("user", "before"), ("assistant", "a"), ("user", "q")], False),
    ],
)
def test_conversations_have_the_same_hashes_where_babylon_stores_the_same(
    messages: list[tuple[str, str]], same: bool
) -> None:
    assert (text_hashes(messages, "a") == text_hashes([("user", "q")], "a")) is same


def test_the_hour_of_a_capture_is_the_one_it_was_asked_in() -> None:
    assert window_id(sample(5).asked_at) == WINDOW
