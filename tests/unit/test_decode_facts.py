"""Scoring reads of a row what ``decode`` reads of it, and accepts the same rows."""

from __future__ import annotations

import json
from typing import Any

import pytest
from factories import exact_call, llm_call, plugin_step, step
from hypothesis import example, given
from hypothesis import strategies as st
from raw_rows import raw
from recorded_json import JSON, KEYS

from babylon_tasks.decode import decode, decode_facts, facts_of
from babylon_tasks.decode.facts import quick_facts
from babylon_tasks.records import RawTrajectory, Rejection

_LOGPROB = st.floats(max_value=0) | st.integers(max_value=0)
_ODD = _LOGPROB | st.floats() | st.none() | st.text(max_size=3)
_ID = st.integers(0, 200_000)


def _token(logprob: st.SearchStrategy[Any]) -> st.SearchStrategy[dict[str, Any]]:
    return st.fixed_dictionaries(
        {"logprob": logprob},
        optional={
            "token": st.text(max_size=3) | _ID.map("token_id:{}".format) | st.none(),
            "bytes": st.lists(st.integers(-1, 300), max_size=2) | st.binary(max_size=2).map(list),
            "id": _ID | st.none(),
            "top_logprobs": JSON,
        },
    )


def _sampled(logprob: st.SearchStrategy[Any]) -> st.SearchStrategy[Any]:
    numbers, objects = st.lists(logprob, max_size=3), st.lists(_token(logprob), max_size=3)
    return numbers | objects | st.fixed_dictionaries({"content": objects | st.none()})


_CALL = st.fixed_dictionaries(
    {},
    optional={
        "logprobs": _sampled(_LOGPROB) | _sampled(_ODD) | JSON,
        "tokenIds": st.lists(_ID, max_size=3) | st.none(),
        "token_ids": st.lists(_ID, max_size=3),
        "purpose": st.sampled_from(["action", "multi_step_decision"]) | JSON,
        "actionType": st.sampled_from(["BUY_SHARES", "FORECAST"]),
        "messages": st.lists(
            st.fixed_dictionaries({"role": st.sampled_from(["system", "user"])},
                                  optional={"content": st.text(max_size=3) | JSON})
        ) | st.none(),
        "systemPrompt": st.text(max_size=3) | st.none(),
        "userPrompt": st.text(max_size=3) | st.none(),
        "callId": st.sampled_from(["c-1", "c-2"]),
    },
)  # fmt: skip
_ACTION = st.dictionaries(KEYS, JSON, max_size=4).map(
    lambda odd: {"actionType": "BUY_SHARES", "success": True, **odd}
) | st.none()  # fmt: skip
_STEP = st.builds(
    lambda calls, action, pnl: step(
        calls=[{**llm_call(), **call} for call in calls], action=action, pnl=pnl
    ),
    st.lists(_CALL, max_size=3),
    _ACTION,
    st.floats(-1e3, 1e3) | st.integers(),
)


def same(row: RawTrajectory) -> None:
    whole, found = decode(row), decode_facts(row)
    assert found == (whole if isinstance(whole, Rejection) else facts_of(whole))


@given(st.lists(_STEP, max_size=3), st.floats() | st.none())
def test_recorded_steps_are_read_alike(steps: list[Any], final_pnl: float | None) -> None:
    same(raw(json.dumps(steps), final_pnl=final_pnl))


@given(st.lists(JSON, max_size=4))
def test_any_json_is_read_alike(steps: list[Any]) -> None:
    same(raw(json.dumps(steps)))


@given(st.binary() | st.text(st.characters(codec="utf-8")))
@example("[" * 100_000)
def test_any_text_is_read_alike(text: bytes | str) -> None:
    same(raw(text))


USUAL = {
    "text": step(calls=[llm_call()]),
    "numbers and ids": step(calls=[exact_call()]),
    "objects": step(calls=[llm_call(logprobs={"content": [{"token": "a", "logprob": -0.5}]})]),
    "asked twice": step(calls=[llm_call("?"), llm_call("YES")]),
    "no action": step(action=None),
    "of the plugin": plugin_step(),
}


@pytest.mark.parametrize("recorded", USUAL.values(), ids=USUAL)
def test_a_row_in_the_usual_form_is_not_decoded_whole(recorded: dict[str, Any]) -> None:
    row = raw([recorded, recorded])
    assert quick_facts(row) == decode_facts(row)
    same(row)
