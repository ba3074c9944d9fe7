"""Any recorded row becomes a Trajectory or a Rejection with a stable reason."""

from __future__ import annotations

import json
import math
from typing import Any

import msgspec
import pytest
from factories import action, llm_call, plugin_step, step
from raw_rows import decoded, one_call, raw

from babylon_tasks.decode import decode, decode_facts
from babylon_tasks.records import Facts, LlmCall, Outcomes, Rejection, Trajectory
from babylon_tasks.scoring.evidence import evidence


def text_with(number: str = "0", **raw_keys: str) -> str:
    """A usable row with one number and further keys of the call spelled out."""
    keys = "".join(f',"{key}":{value}' for key, value in raw_keys.items())
    return (
        f'[{{"environmentState":{{"agentPnL":{number}}},"llmCalls":'
        f'[{{"systemPrompt":"s","userPrompt":"u","response":"r"{keys}}}]}}]'
    )


REJECTED: dict[str, tuple[str, Any, dict[str, Any]]] = {
    "an evaluation": ("evaluation_row", [step()], {"is_evaluation": True}),
    "no training data": ("not_training_data", [step()], {"is_training_data": False}),
    "used before": ("already_used", [step()], {"already_used": True}),
    "text left behind": ("too_large", None, {"steps_bytes": 20_000_000}),
    "no JSON": ("malformed_json", "{not json", {}),
    "nothing": ("malformed_json", "", {}),
    "cut off": ("malformed_json", json.dumps([step()])[:-5], {}),
    "text after the end": ("malformed_json", "[] []", {}),
    "an unknown escape": ("malformed_json", text_with(x=r'"\x"'), {}),
    "a raw line break in a string": ("malformed_json", text_with(x='"a\nb"'), {}),
    "an object": ("bad_shape", {"steps": []}, {}),
    "null": ("bad_shape", "null", {}),
    "steps that are numbers": ("bad_shape", [1, 2], {}),
    "a response that is a number": ("bad_shape", [step(calls=[llm_call(response=7)])], {}),
    "a call without prompts": ("bad_shape", [step(calls=[{"response": "YES"}])], {}),
    "a call without a prompt": (
        "bad_shape",
        [step(calls=[{"messages": [{"role": "assistant", "content": "Y"}], "response": "Y"}])],
        {},
    ),
    "a PnL that is text": ("bad_shape", text_with('"NaN"'), {}),
    "zero steps": ("no_steps", [], {}),
    "no calls in any step": ("no_llm_calls", [step(calls=[]), step(1, calls=[])], {}),
    "a NaN that is used": ("not_finite", text_with("NaN"), {}),
    "a NaN elsewhere": ("not_finite", text_with(x="[NaN]"), {}),
    "an infinity": ("not_finite", text_with("-Infinity"), {}),
    "a number beyond floats": ("not_finite", text_with("1e999"), {}),
    "a final PnL of NaN": ("not_finite", [step()], {"final_pnl": math.nan}),
    "a final PnL of infinity": ("not_finite", [step()], {"final_pnl": math.inf}),
    "a NaN logprob": ("not_finite", text_with(logprobs="[-0.1,NaN]"), {}),
    "a null logprob": ("not_finite", text_with(logprobs="[-0.1,null]"), {}),
    "a positive logprob": ("bad_logprobs", text_with(logprobs="[0.5]"), {}),
    "ids for other tokens": ("bad_logprobs", text_with(logprobs="[-0.5]", tokenIds="[1,2]"), {}),
    "ids that contradict each other": (
        "bad_logprobs",
        text_with(logprobs='[{"logprob":-1,"token":"token_id:3"}]', tokenIds="[4]"),
        {},
    ),
    "a byte that is none": (
        "bad_logprobs",
        text_with(logprobs='[{"logprob":-1,"token":"a","bytes":[256]}]'),
        {},
    ),
    "objects, then numbers": (
        "bad_logprobs",
        text_with(logprobs='[{"logprob":-1,"token":"a"},-0.5]'),
        {},
    ),
    "half a character": ("unstorable_text", text_with(reasoning=r'"\ud800"'), {}),
    "the other half": ("unstorable_text", text_with(reasoning=r'"\udc00 x"'), {}),
    "NUL in a model name": ("unstorable_text", text_with(model=r'"a\u0000b"'), {}),
    "NUL in a response": ("unstorable_text", [step(calls=[llm_call("a\0")])], {}),
    "NUL in a kind of question": (
        "unstorable_text",
        [step(calls=[llm_call(actionType="a\0")])],
        {},
    ),
    "NUL in a market": (
        "unstorable_text",
        [step(action={"actionType": "HOLD", "parameters": {"marketId": "m\0"}})],
        {},
    ),
    "deep nesting in a key nobody reads": ("too_deep", text_with(x="[" * 9999 + "]" * 9999), {}),
    "deep nesting without an end": ("too_deep", text_with(x='{"a":' * 9999), {}),
    "deep nesting where calls belong": ("too_deep", '[{"llmCalls":' + "[" * 9999, {}),
}


@pytest.mark.parametrize(("reason", "steps", "fields"), REJECTED.values(), ids=REJECTED)
def test_what_cannot_be_used_is_rejected_with_a_reason(
    reason: str, steps: Any, fields: dict[str, Any]
) -> None:
    row = raw(steps, **fields)
    found = decode(row)
    assert found == decode_facts(row)
    assert isinstance(found, Rejection)
    assert (found.trajectory_id, found.stage, found.reason) == ("t-1", "decode", reason)
    assert found.detail
    assert len(found.detail) <= 200


def test_what_is_no_sum_of_money_is_not_known_and_its_row_is_used() -> None:
    """Finite each, and infinite in a window's sums: one row failed its whole hour."""
    bet = action("TRADE", side="buy_yes")
    bet["parameters"]["amount"] = 1.7e308
    found = decode(raw([step(pnl=-1.7e308, action=bet), step(1, pnl=1e15)], final_pnl=1.7e308))
    assert isinstance(found, Trajectory)
    assert (found.first_pnl, found.last_pnl, found.final_pnl) == (None, None, None)
    assert found.actions[0].staked is None


@pytest.mark.parametrize(
    ("keys", "shaped"),
    [
        ({"shaped": ["top_k"]}, True),
        ({"top_k": 40}, True),
        ({"topK": 40}, True),
        ({"min_p": 0.05}, True),
        ({"minP": 0.05}, True),
        ({"frequency_penalty": 0.5}, True),
        ({"frequencyPenalty": -0.5}, True),
        ({"presence_penalty": 1}, True),
        ({"presencePenalty": 1}, True),
        ({"repetition_penalty": 1.1}, True),
        ({"repetitionPenalty": 1.1}, True),
        ({"logit_bias": {"7": -100}}, True),
        ({"logitBias": {"7": -100}}, True),
        ({"response_format": {"type": "json_object"}}, True),
        ({"responseFormat": {"type": "json", "schema": {}}}, True),
        ({"topK": "none"}, True),
        ({}, False),
        ({"shaped": []}, False),
        (
            {"topK": 0, "top_k": -1, "minP": 0.0, "frequencyPenalty": 0, "presence_penalty": 0},
            False,
        ),
        ({"repetitionPenalty": 1.0, "logitBias": {}, "responseFormat": {"type": "text"}}, False),
        ({"topK": None, "responseFormat": None}, False),
    ],
)
def test_parameters_that_shape_a_sample_are_read_in_both_spellings(
    keys: dict[str, Any], shaped: bool
) -> None:
    assert bool(one_call(**keys).shaped) is shaped


def test_top_p_is_read_in_both_spellings() -> None:
    assert one_call(top_p=0.9).top_p == one_call(topP=0.9, top_p=1).top_p == 0.9
    assert one_call(top_p=None).top_p == 1


def test_a_call_that_nothing_shaped_says_nothing_of_it() -> None:
    """So that members that an earlier release has planned keep their hashes."""
    plain = msgspec.json.encode(one_call())
    assert b"shaped" not in plain
    assert msgspec.json.decode(plain, type=LlmCall) == one_call()
    assert msgspec.json.decode(msgspec.json.encode(one_call(topK=7)), type=LlmCall).shaped is True


def test_shape_a_keeps_the_prompts_as_they_were_sent() -> None:
    call = one_call(systemPrompt=" s\n", userPrompt="<think>", response="\tYES ")
    assert call.messages == (("system", " s\n"), ("user", "<think>"))
    assert call.response == "\tYES "


def test_shape_b_keeps_every_message() -> None:
    messages = [
        {"role": r, "content": c} for r, c in (("system", "a"), ("user", "b"), ("user", "c"))
    ]
    trajectory = decoded([plugin_step(calls=[llm_call(messages=messages)])])
    assert trajectory.calls[0].messages == (("system", "a"), ("user", "b"), ("user", "c"))


def test_shape_b_without_messages_falls_back_to_the_prompts() -> None:
    assert one_call(messages=[], systemPrompt="a", userPrompt="b").messages[0] == ("system", "a")


ASKED = [{"role": "system", "content": "s"}, {"role": "user", "content": "u"}]


@pytest.mark.parametrize(
    ("answer", "response"),
    [("YES", "YES"), ("YES", "YES\n"), ([{"type": "text", "text": "YES"}], "YES")],
)
def test_an_answer_at_the_end_of_its_own_conversation_is_no_prompt(
    answer: object, response: str
) -> None:
    """Trained on it, the policy would learn to repeat what it reads."""
    said = {"role": "assistant", "content": answer}
    call = one_call(messages=[*ASKED, said], response=response)
    assert call.messages == (("system", "s"), ("user", "u"))
    assert call.response == response
    alone = one_call(messages=[said], systemPrompt="s", userPrompt="u", response=response)
    assert alone.messages == (("system", "s"), ("user", "u"))


@pytest.mark.parametrize(
    ("messages", "response"),
    [
        ([*ASKED, {"role": "assistant", "content": "YES"}], "NO"),
        ([*ASKED, {"role": "assistant", "content": ""}], ""),
        ([*ASKED, {"role": "user", "content": "YES"}], "YES"),
        ([{"role": "assistant", "content": "YES"}, {"role": "user", "content": "u"}], "YES"),
    ],
)
def test_other_words_at_the_end_of_a_conversation_are_kept(messages: Any, response: str) -> None:
    kept = tuple((one["role"], one["content"]) for one in messages)
    assert one_call(messages=messages, response=response).messages == kept


@pytest.mark.parametrize("keys", [{"policyStep": 7}, {"model": "babylon@7"}])
def test_the_policy_step_is_recorded_or_in_the_models_name(keys: dict[str, Any]) -> None:
    assert one_call(**keys).policy_step == 7


def test_the_recorded_policy_step_wins_over_the_models_name() -> None:
    assert one_call(policyStep=0, model="babylon@7").policy_step == 0


@pytest.mark.parametrize(
    "model", ["SmolLM2", "babylon@", "babylon@x", "a@7/b", "@", "babylon@٣", "babylon@²"]
)
def test_other_model_names_tell_no_policy_step(model: str) -> None:
    assert one_call(model=model).policy_step is None


def test_logprobs_come_as_numbers_with_token_ids() -> None:
    call = one_call(logprobs=[-0.5, 0], tokenIds=[3, 4])
    assert (call.logprobs, call.token_ids, call.tokens) == ((-0.5, 0.0), (3, 4), None)


def test_logprobs_come_as_objects_with_tokens() -> None:
    call = one_call(logprobs=[{"token": "YES", "logprob": -0.5, "bytes": [1]}])
    assert (call.logprobs, call.tokens) == ((-0.5,), ("YES",))


def test_ids_in_the_place_of_tokens_are_ids() -> None:
    entries = [{"token": f"token_id:{n}", "logprob": -0.5, "bytes": [65 + n]} for n in (3, 4)]
    call = one_call(logprobs=entries)
    assert (call.token_ids, call.tokens, call.token_bytes) == ((3, 4), None, (b"D", b"E"))


def test_ids_beside_each_token_are_ids() -> None:
    entries = [{"token": "a", "id": 3, "logprob": -0.5}, {"token": "b", "id": 4, "logprob": -0.5}]
    assert one_call(logprobs=entries).token_ids == (3, 4)


@pytest.mark.parametrize("key", ["tokenIds", "token_ids"])
def test_ids_are_kept_without_logprobs_too(key: str) -> None:
    call = one_call(**{key: [3, 4]})
    assert (call.token_ids, call.logprobs) == ((3, 4), None)


def test_openais_object_around_the_logprobs_is_opened() -> None:
    call = one_call(logprobs={"content": [{"token": "YES", "logprob": -0.5}]})
    assert (call.logprobs, call.tokens) == ((-0.5,), ("YES",))
    assert one_call(logprobs={"content": None}).logprobs is None


def test_bytes_are_kept_where_they_were_reported() -> None:
    reported = {"token": "\ufffd", "logprob": -0.5, "bytes": [240, 159]}
    unreported = {"token": "x", "logprob": -0.5, "bytes": None}
    assert one_call(logprobs=[reported, unreported]).token_bytes == (b"\xf0\x9f", b"")
    assert one_call(logprobs=[unreported]).token_bytes is None


@pytest.mark.parametrize(
    ("keys", "field", "value"),
    [
        ({"topP": 0.9}, "top_p", 0.9),
        ({}, "top_p", 1.0),
        ({"finishReason": "length"}, "finish_reason", "length"),
        ({"finishReason": "content-filter"}, "finish_reason", "content_filter"),  # the AI SDK's
        ({"finishReason": 7}, "finish_reason", None),
        ({"promptTokens": 40}, "prompt_tokens", 40),
        ({"promptTokens": 0}, "prompt_tokens", None),  # of writers that got none
        ({"promptTokens": "many"}, "prompt_tokens", None),
        ({"completionTokens": 3}, "completion_tokens", 3),
    ],
)
def test_what_was_recorded_of_the_sampling_is_kept(
    keys: dict[str, Any], field: str, value: Any
) -> None:
    assert getattr(one_call(**keys), field) == value


def test_a_logprob_a_hair_above_zero_is_rounding() -> None:
    assert one_call(logprobs=[1e-7]).logprobs == (0.0,)


def test_unknown_keys_and_words_and_a_fractional_latency_do_no_harm() -> None:
    odd = llm_call(purpose="daydream", latencyMs=0.1, novelty={"a": [1, {"b": None}]})
    assert decoded([step(calls=[odd], surprise=[1], reward=None)]).calls


@pytest.mark.parametrize("chosen", ["BUY_SHARES", "all_in", " All_In "])
def test_a_word_that_the_answer_chose_is_not_a_kind_of_question(chosen: str) -> None:
    """Groups are made by it: an answer must not choose whom it is compared with."""
    asked = llm_call(actionType=chosen, purpose="action")
    assert decoded([step(calls=[asked], action=action("all_in"))]).calls[0].purpose == "action"


def test_of_a_key_given_twice_the_last_counts() -> None:
    assert decoded(text_with(response='"s"')).calls[0].response == "s"


def test_null_is_a_number_that_is_not_known() -> None:
    trajectory = decoded(text_with("null", temperature="null"))
    assert trajectory.first_pnl is None
    assert trajectory.calls[0].temperature == 1.0


def test_the_pnl_of_the_first_and_last_step_is_kept() -> None:
    trajectory = decoded([step(0, pnl=12.5), step(1, calls=[]), step(2, pnl=-3)], final_pnl=4.0)
    assert (trajectory.first_pnl, trajectory.last_pnl, trajectory.final_pnl) == (12.5, -3.0, 4.0)


def test_one_step_knows_no_last_pnl() -> None:
    assert decoded([step(pnl=12.5)]).last_pnl is None


@pytest.mark.parametrize("kind", ["LIKE", "COMMENT", "REPLY_COMMENT", "DM", "GROUP_MESSAGE"])
def test_what_babylon_did_in_place_of_an_answer_is_no_action_of_it(kind: str) -> None:
    """Of today's Babylon, where no answer could be parsed: garbage earned more than a lost bet."""
    why = "Parser fallback selected a simple engagement action to avoid wasting the tick."
    row = raw([step(calls=[llm_call("I think")], action=action(kind, reasoning=why))])

    for found in (decode(row), decode_facts(row)):
        assert isinstance(found, Trajectory | Facts)
        shown = evidence(found, Outcomes({}, {}))
        assert (shown.failed, shown.taken, shown.waited) == (1, 0, 0)


@pytest.mark.parametrize("why", ["It fell. Parser fallback selected", "", None, 7, ["Parser"]])
def test_what_an_agent_says_of_its_action_leaves_it_as_it_is(why: object) -> None:
    assert decoded([step(action=action("LIKE", reasoning=why))]).actions[0].success


def correct(**keys: Any) -> bool | None:
    done = {"actionType": "BUY_SHARES", "success": True, "correctness": keys}
    return decoded([step(action=done)]).actions[0].correct


@pytest.mark.parametrize(
    ("keys", "expected"),
    [
        ({"predictionCorrect": False, "perpCorrect": True}, False),
        ({"perpCorrect": True}, True),
        ({"predictedOutcome": False, "actualOutcome": False}, True),
        ({"predictedOutcome": True, "actualOutcome": False}, False),
        ({"predictedOutcome": True}, None),
        ({"expectedDirection": "down", "priceChange": -2}, True),
        ({"expectedDirection": "up", "priceChange": -2.5}, False),
        ({"expectedDirection": "up", "priceChange": 0}, None),
        ({"predictionCorrect": "yes", "sentimentAccuracy": 0.9}, None),
        ({}, None),
    ],
)
def test_recorded_correctness_in_all_its_forms(keys: dict[str, Any], expected: bool | None) -> None:
    assert correct(**keys) is expected


@pytest.mark.parametrize(("market", "kept"), [("m-1", "m-1"), (2468, "2468"), ({}, None)])
def test_a_market_id_is_text_or_a_number(market: Any, kept: str | None) -> None:
    done = {"actionType": "HOLD", "parameters": {"marketId": market}}
    assert decoded([step(action=done)]).actions[0].market_id == kept
