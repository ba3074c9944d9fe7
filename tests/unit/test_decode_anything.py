"""Whatever a row holds, the decoder raises nothing, and what leaves it can be stored."""

from __future__ import annotations

import json
from typing import Any

import msgspec
from factories import llm_call, step
from hypothesis import given
from hypothesis import strategies as st
from raw_rows import raw
from recorded_json import JSON, KEYS

from babylon_tasks.decode import decode
from babylon_tasks.records import Rejection, Trajectory


def storable(found: Trajectory | Rejection) -> None:
    """What leaves the decoder can be encoded and holds no NUL where Postgres would see it."""
    text = msgspec.json.encode(found)
    if isinstance(found, Rejection):
        assert "\0" not in (found.detail or "")
    else:
        assert b"\\u0000" not in text


@given(st.lists(JSON, max_size=4), st.floats() | st.none())
def test_no_json_makes_it_raise(steps: list[Any], final_pnl: float | None) -> None:
    storable(decode(raw(json.dumps(steps), final_pnl=final_pnl)))


@given(st.dictionaries(KEYS, JSON, max_size=6), st.dictionaries(KEYS, JSON, max_size=6))
def test_no_call_and_no_action_makes_it_raise(call: dict[str, Any], done: dict[str, Any]) -> None:
    steps = [step(calls=[{**llm_call(), **call}], action={"actionType": "BUY_SHARES", **done})]
    storable(decode(raw(json.dumps(steps))))


@given(st.binary() | st.text(st.characters(codec="utf-8")))
def test_no_bytes_make_it_raise(text: bytes | str) -> None:
    storable(decode(raw(text)))
