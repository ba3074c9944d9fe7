"""Whatever a row holds, the decoder raises nothing, and what leaves it can be stored."""

from __future__ import annotations

import json
from typing import Any

import msgspec
from factories import llm_call, step
from hypothesis import given
from hypothesis import strategies as st
from raw_rows import raw

from babylon_tasks.decode import decode
from babylon_tasks.records import Rejection, Trajectory

_LEAVES = (
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(st.characters(codec=None))
)
_KEYS = st.sampled_from(
    [
        "environmentState",
        "agentPnL",
        "llmCalls",
        "action",
        "parameters",
        "correctness",
        "marketId",
        "side",
        "response",
        "systemPrompt",
        "userPrompt",
        "messages",
        "role",
        "content",
        "logprobs",
        "logprob",
        "token",
        "tokenIds",
        "bytes",
        "id",
        "tool_calls",
        "tools",
        "finishReason",
        "promptTokens",
        "policyStep",
        "model",
        "temperature",
        "success",
        "actionType",
        "predictedOutcome",
        "priceChange",
        "other",
    ]
)
_JSON = st.recursive(
    _LEAVES, lambda inner: st.lists(inner, max_size=4) | st.dictionaries(_KEYS, inner, max_size=6)
)


def storable(found: Trajectory | Rejection) -> None:
    """What leaves the decoder can be encoded and holds no NUL where Postgres would see it."""
    text = msgspec.json.encode(found)
    if isinstance(found, Rejection):
        assert "\0" not in (found.detail or "")
    else:
        assert b"\\u0000" not in text


@given(st.lists(_JSON, max_size=4), st.floats() | st.none())
def test_no_json_makes_it_raise(steps: list[Any], final_pnl: float | None) -> None:
    storable(decode(raw(json.dumps(steps), final_pnl=final_pnl)))


@given(st.dictionaries(_KEYS, _JSON, max_size=6), st.dictionaries(_KEYS, _JSON, max_size=6))
def test_no_call_and_no_action_makes_it_raise(call: dict[str, Any], done: dict[str, Any]) -> None:
    steps = [step(calls=[{**llm_call(), **call}], action={"actionType": "BUY_SHARES", **done})]
    storable(decode(raw(json.dumps(steps))))


@given(st.binary() | st.text(st.characters(codec="utf-8")))
def test_no_bytes_make_it_raise(text: bytes | str) -> None:
    storable(decode(raw(text)))
