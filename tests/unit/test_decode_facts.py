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

# Few values of each, so that ids agree with each other about as often as they do not.
_LOGPROB = st.sampled_from([-0.5, -1, 0.0, 0.0005])
_ODD = _LOGPROB | st.sampled_from([0.5, None, "-0.5", float("nan")])
_ID = st.sampled_from([1, 2])
_IDS = st.lists(_ID, max_size=2) | st.none()
_ODD_IDS = st.lists(_ID | st.sampled_from([-1, 1.0, None, "1", [1], {}]), max_size=3) | JSON
_TEXT = st.sampled_from(["", "u", "m-1", "\0", "\ud800", None, 7])


def _token(logprob: st.SearchStrategy[Any]) -> st.SearchStrategy[dict[str, Any]]:
    return st.fixed_dictionaries(
        {"logprob": logprob},
        optional={
            "token": st.sampled_from(["a", "token_id:1", "token_id:2", "\0", None]),
            "bytes": st.sampled_from([[], [97], [0, 255], [256], [-1], None]),
            "id": _ID | st.none(),
        },
    )


def _sampled(logprob: st.SearchStrategy[Any]) -> st.SearchStrategy[Any]:
    objects = st.lists(_token(logprob), max_size=2)
    return st.lists(logprob, max_size=2) | objects | st.fixed_dictionaries({"content": objects})


_WITH_TOKENS = st.fixed_dictionaries(
    {"logprobs": _sampled(_LOGPROB) | _sampled(_LOGPROB) | _sampled(_ODD) | st.none()},
    optional={
        "tokenIds": _IDS | _IDS | _ODD_IDS,
        "token_ids": _IDS | _IDS | _ODD_IDS,
        "promptTokenIds": _IDS | _ODD_IDS,
    },
)
_PARTS = [{"type": "text", "text": "m-2"}, {"type": "reasoning", "text": "m-1"}]
_MESSAGE = st.fixed_dictionaries(
    {"role": st.sampled_from(["system", "user", "assistant"])},
    optional={"content": _TEXT | st.just("YES") | st.just(_PARTS) | JSON},
)
_WITH_TEXTS = st.fixed_dictionaries(
    {},
    optional={
        "messages": st.lists(_MESSAGE, max_size=2) | st.none(),
        "systemPrompt": _TEXT,
        "userPrompt": _TEXT,
        "response": st.sampled_from(["YES", "YES", "\0"]),
        "purpose": st.sampled_from(["action", "forecast", "\0", 7]),
        "actionType": st.sampled_from(["BUY_SHARES", "FORECAST", "POSE"]),
        "callId": st.sampled_from(["c-1", "c-2"]),
        "topP": st.sampled_from([1, 0.9, "1", None]),
        "top_p": st.sampled_from([1, 0.9, "1", None]),
        "topK": st.sampled_from([40, -1, "\0", "\ud800"]) | JSON,
        "shaped": st.sampled_from([["top_k"], [], "\0"]) | JSON,
    },
)
_CALL = _WITH_TOKENS | _WITH_TEXTS | st.dictionaries(KEYS, JSON, max_size=3)
_FIGURE = st.sampled_from([0, 30, 0.5, -1, 1e300, 10**400, "30", " 0.5 ", "x", None, True, [30]])
_NAME = st.sampled_from(["m-1", "ACME", "", "m" * 300, 7, 10**400, None, {}])
_PARAMETERS = st.fixed_dictionaries(
    {},
    optional={
        "marketId": _NAME,
        "ticker": _NAME,
        "marketType": st.sampled_from(["prediction", "perp", "Perp", None, 7]),
        "side": st.sampled_from(["buy_yes", "sell_no", "long", "open_short", "NO", None, 7]),
        "amount": _FIGURE,
        "price": _FIGURE,
    },
)
_RESULT = st.fixed_dictionaries(
    {}, optional={"marketId": _NAME, "ticker": _NAME, "shares": _FIGURE, "avgPrice": _FIGURE}
)
_ACTION = st.none() | st.fixed_dictionaries(
    {"actionType": st.sampled_from(["TRADE", "BUY_SHARES", "POSE", "pose"])},
    optional={
        "success": st.booleans(),
        "llmCallId": st.sampled_from(["c-1", "c-2"]),
        "reasoning": st.sampled_from(["Parser fallback selected a post", "it fell", None, 7]),
        "parameters": _PARAMETERS | st.dictionaries(KEYS, JSON, max_size=3),
        "result": _RESULT | JSON,
        "correctness": st.dictionaries(KEYS, JSON, max_size=3),
    },
)
_STEP = st.builds(
    lambda calls, action, pnl: step(
        calls=[{**llm_call(), **call} for call in calls], action=action, pnl=pnl
    ),
    st.lists(_CALL, max_size=2),
    _ACTION,
    st.sampled_from([0, 12.5, -980, 1e15, 1e300]),
)


def same(row: RawTrajectory) -> None:
    whole, found = decode(row), decode_facts(row)
    assert found == (whole if isinstance(whole, Rejection) else facts_of(whole))


@given(st.lists(_STEP, min_size=1, max_size=2), st.sampled_from([None, 7.0, float("inf")]))
def test_recorded_steps_are_read_alike(steps: list[Any], final_pnl: float | None) -> None:
    same(raw(json.dumps(steps), final_pnl=final_pnl))


@given(_WITH_TOKENS)
def test_recorded_tokens_are_read_alike(call: dict[str, Any]) -> None:
    same(raw([step(calls=[llm_call(**call)])]))


@given(_WITH_TEXTS, _ACTION)
def test_recorded_texts_are_read_alike(call: dict[str, Any], action: dict[str, Any] | None) -> None:
    same(raw([step(calls=[llm_call(**call)], action=action)]))


@given(st.lists(JSON, max_size=4))
def test_any_json_is_read_alike(steps: list[Any]) -> None:
    same(raw(json.dumps(steps)))


@given(st.binary() | st.text(st.characters(codec="utf-8")))
@example("[" * 100_000)
def test_any_text_is_read_alike(text: bytes | str) -> None:
    same(raw(text))


def tokens(**token: Any) -> dict[str, Any]:
    return {"content": [{"token": "a", "logprob": -0.5, **token}]}


# What the types of `facts.py` and `_sound` check, one by one: drawn rows seldom have just one flaw.
ODD = {
    "a byte above 255": [llm_call(logprobs=tokens(bytes=[256]))],
    "a byte below 0": [llm_call(logprobs=tokens(bytes=[-1]))],
    "a likelier answer than sure": [llm_call(logprobs=tokens(logprob=0.5))],
    "other ids than the tokens name": [llm_call(logprobs=tokens(token="token_id:1"), tokenIds=[2])],
    "more ids than tokens": [llm_call(logprobs=tokens(), tokenIds=[1, 2])],
    "more ids than log-probabilities": [llm_call(logprobs=[-0.5], tokenIds=[1, 2])],
    "no system prompt": [llm_call(systemPrompt=None)],
    "no prompt": [llm_call(userPrompt=None)],
    "nothing but the answer": [
        llm_call("Y", userPrompt=None, messages=[{"role": "assistant", "content": "Y"}])
    ],
    "NUL in a prompt": [llm_call(userPrompt="\0")],
    "NUL in an answer": [llm_call("\0")],
    "NUL in a model's name": [llm_call(model="\0")],
    "NUL in a message": [llm_call(messages=[{"role": "user", "content": "\0"}])],
    "NUL in a kind of question": [llm_call(purpose="\0")],
    "NUL in a token": [llm_call(logprobs=tokens(token="\0"))],
}


@pytest.mark.parametrize("calls", ODD.values(), ids=ODD)
def test_an_odd_call_is_refused_in_any_step(calls: list[dict[str, Any]]) -> None:
    for steps in ([step(calls=calls)], [step(), step(1, calls=calls)]):
        row = raw(steps)
        assert isinstance(decode(row), Rejection), "this test's own premise"
        same(row)


@pytest.mark.parametrize("name", ["marketId", "ticker", "side"])
@pytest.mark.parametrize("number", [0, 1])
def test_an_action_with_a_nul_is_refused_in_any_step(name: str, number: int) -> None:
    steps = [step(), step(1)]
    steps[number]["action"] = {"actionType": "BUY_SHARES", "parameters": {name: "m\0"}}
    row = raw(steps)
    assert isinstance(decode(row), Rejection), "this test's own premise"
    same(row)


@pytest.mark.parametrize("result", ["done", [], 7, {"shares": []}])
def test_an_odd_result_of_a_trade_is_not_known(result: object) -> None:
    trade = {"actionType": "BUY_SHARES", "parameters": {"marketId": "m-1"}, "result": result}
    row = raw(json.dumps([step(action=trade)]))
    assert not isinstance(decode(row), Rejection), "this test's own premise"
    same(row)


def test_nul_that_nothing_reads_is_no_reason_to_refuse_a_row() -> None:
    row = raw([step(calls=[llm_call(reasoning="\0")])])
    assert quick_facts(row) == decode_facts(row)


def test_the_question_is_that_of_the_call_that_was_acted_upon() -> None:
    asked = [
        llm_call(userPrompt="first?", callId="c-1"),
        llm_call(userPrompt="second?", callId="c-2"),
        llm_call(userPrompt="forecast?", callId="c-3", purpose="forecast"),
    ]
    named = raw([step(calls=asked, action={"actionType": "BUY_SHARES", "llmCallId": "c-1"})])
    not_named = raw([step(calls=asked, action={"actionType": "BUY_SHARES"})])

    for row, question in ((named, "first?"), (not_named, "second?")):
        found = quick_facts(row)
        assert found is not None
        assert found.question == question
        same(row)


_LONG = "9" * 4_301  # a longer number than msgspec reads
IDS = {
    "none": "null",
    "no id": "[]",
    "one": "[1]",
    "spaced": "[ 1 ,\n\t 2\r]",
    "many": json.dumps([*range(100_000, 100_900)], separators=(",", ":")),
    "below 0": "[1,-2]",
    "a long number": f"[1,{_LONG[1:]}]",
    "too long a number": f"[1,{_LONG}]",
    "too long a number between others": f"[{'1,' * 1_000}{_LONG}{',1' * 1_000}]",
    "a fraction": "[1,2.5]",
    "a power": "[1,1e3]",
    "text": '["1","2"]',
    "lists": "[[1],[2]]",
    "one list more": "[[1,2]]",
    "an object": '{"1":2}',
    "a null among ids": "[1,null]",
    "a number": "12",
    "an empty text": '""',
    "a leading zero": "[01,2]",
    "a comma too many": "[1,2,]",
    "ids twice": '[1,2],"KEY":[1]',
    "other than an id first": '[{}],"KEY":[1,2]',
}


@pytest.mark.parametrize("key", ["tokenIds", "token_ids", "promptTokenIds"])
@pytest.mark.parametrize("ids", IDS.values(), ids=IDS)
def test_ids_are_read_alike_in_each_call_of_a_step(ids: str, key: str) -> None:
    ids = ids.replace("KEY", key)
    asked, other = llm_call(**{key: 7}), llm_call(purpose="forecast")
    for calls in ([asked], [asked, other], [other, asked]):
        same(raw(json.dumps([step(calls=calls)]).replace(f'"{key}": 7', f'"{key}": {ids}')))


@pytest.mark.parametrize("ids", IDS.values(), ids=IDS)
def test_ids_beside_log_probabilities_are_read_alike(ids: str) -> None:
    ids = ids.replace("KEY", "tokenIds")
    for count in (0, 1, 2, 900):
        recorded = step(calls=[llm_call(logprobs=[-0.5] * count, tokenIds=7)])
        same(raw(json.dumps([recorded]).replace('"tokenIds": 7', f'"tokenIds": {ids}')))


USUAL = {
    "text": step(calls=[llm_call()]),
    "numbers and ids": step(calls=[exact_call()]),
    "many ids": step(calls=[llm_call(tokenIds=[*range(100_000, 101_000)])]),
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
