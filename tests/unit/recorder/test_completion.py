"""An LLM call is recorded as it was sampled, whatever client made it."""

from __future__ import annotations

import json
from typing import Any

import pytest
from recordings import MESSAGES, call_of, completion, decoded, finished, recording


def test_a_chat_completion_is_recorded_as_it_came() -> None:
    assert call_of(completion(["YE", "S"])) == {
        "model": "babylon@12",
        "systemPrompt": "trade",
        "userPrompt": "YES or NO?",
        "response": "YES",
        "temperature": 1.0,
        "maxTokens": 16,
        "purpose": "action",
        "finishReason": "stop",
        "promptTokens": 40,
        "completionTokens": 2,
        "policyStep": 12,
        "logprobs": [{"token": "YE", "logprob": -0.25}, {"token": "S", "logprob": -0.5}],
    }


def test_a_completion_as_json_is_recorded_alike() -> None:
    answer = completion(["YE", "S"])
    assert call_of(answer.model_dump()) == call_of(answer)


def test_tokens_that_are_ids_become_token_ids() -> None:
    call = call_of(completion(["token_id:7", "token_id:8"]))
    assert (call["logprobs"], call["tokenIds"]) == ([-0.25, -0.5], [7, 8])


def test_token_ids_of_the_choice_are_kept_beside_the_tokens() -> None:
    call = call_of(completion(["YE", "S"], token_ids=[7, 8]))
    assert call["tokenIds"] == [7, 8]
    assert call["logprobs"][0]["token"] == "YE"


def test_token_ids_of_other_tokens_are_left_out() -> None:
    assert "tokenIds" not in call_of(completion(["YE", "S"], token_ids=[7, 8, 2]))


def test_ids_that_contradict_each_other_are_all_left_out() -> None:
    call = call_of(completion(["token_id:7", "token_id:8"], token_ids=[7, 9]))
    assert "tokenIds" not in call
    assert call["logprobs"] == [-0.25, -0.5]


def test_bytes_of_tokens_are_kept() -> None:
    answer = completion(["token_id:7", "\ufffd"])
    entries = answer.choices[0].logprobs.content  # type: ignore[union-attr]
    entries[0].bytes, entries[1].bytes = [240, 159], None  # type: ignore[index]

    entries = call_of(answer)["logprobs"]

    assert [entry.get("bytes") for entry in entries] == [[240, 159], None]


def test_ids_beside_each_token_are_kept() -> None:
    answer = completion(["YE", "S"]).model_dump()
    for number, entry in enumerate(answer["choices"][0]["logprobs"]["content"], 7):
        entry["id"] = number

    call = call_of(answer)

    assert call["tokenIds"] == [7, 8]
    assert [entry["token"] for entry in call["logprobs"]] == ["YE", "S"]


def test_the_finish_reason_and_the_sampling_that_was_asked_for_are_kept() -> None:
    call = call_of(completion(["YE"], finish_reason="length"), temperature=0.7, top_p=0.9)
    assert (call["finishReason"], call["temperature"], call["topP"]) == ("length", 0.7, 0.9)
    assert call_of(None, response="YES", finish_reason="stop")["finishReason"] == "stop"


def test_tokens_counted_for_several_answers_together_belong_to_none() -> None:
    answer = completion(["YE"]).model_dump()
    answer["choices"].append({**answer["choices"][0], "index": 1})

    assert "completionTokens" not in call_of(answer, choice=1)
    assert call_of(answer)["promptTokens"] == 40


def test_prompt_ids_tell_how_many_they_are_where_the_usage_does_not() -> None:
    answer = completion(["YE"]).model_dump()
    answer |= {"usage": None, "prompt_token_ids": list(range(17))}

    assert call_of(answer)["promptTokens"] == 17


def test_prompt_ids_are_kept_only_if_that_is_asked_for() -> None:
    answer = completion(["YE"]).model_dump() | {"prompt_token_ids": [7, 8]}

    assert "promptTokenIds" not in call_of(answer)
    assert call_of(answer, keep_prompt_ids=True)["promptTokenIds"] == [7, 8]


def test_prompt_ids_are_read_back() -> None:
    answer = completion(["YE"]).model_dump() | {"prompt_token_ids": [7, 8]}
    made = recording()
    made.step(balance=1000, pnl=0).llm_call(
        answer, messages=MESSAGES, temperature=1, max_tokens=16, keep_prompt_ids=True
    )

    row, _ = finished(made)
    assert decoded(row).calls[0].prompt_ids == (7, 8)


ENGINE = {
    "prompt_token_ids": [7, 8, 9],
    "completion_token_ids": [3, 2],
    "completion_logprobs": [-0.5, -0.25],
}


def test_tokens_of_the_engine_win_over_those_of_the_choice() -> None:
    answer = completion(["YE", "S", "<end>"]).model_dump()

    call = call_of(answer | {"nvext": {"engine_data": ENGINE}}, keep_prompt_ids=True)

    assert (call["tokenIds"], call["logprobs"]) == ([3, 2], [-0.5, -0.25])
    assert call["promptTokenIds"] == [7, 8, 9]


@pytest.mark.parametrize("missing", ["completion_token_ids", "completion_logprobs"])
def test_half_of_what_the_engine_may_report_is_not_used(missing: str) -> None:
    answer = completion(["YE", "S"]).model_dump()

    call = call_of(answer | {"nvext": {"engine_data": {**ENGINE, missing: None}}})

    assert call["logprobs"] == call_of(answer)["logprobs"]
    assert "tokenIds" not in call


def test_tokens_of_the_engine_belong_to_none_of_several_answers() -> None:
    answer = completion(["YE"]).model_dump()
    answer["choices"].append({**answer["choices"][0], "index": 1})

    assert "tokenIds" not in call_of(answer | {"nvext": {"engine_data": ENGINE}})


def test_compact_log_probabilities_are_those_of_the_ids_beside_them() -> None:
    answer = completion(["YE"]).model_dump()
    answer["choices"][0] |= {"token_ids": [3, 2], "compact_logprobs": [-0.5, -0.25]}

    call = call_of(answer)

    assert (call["tokenIds"], call["logprobs"]) == ([3, 2], [-0.5, -0.25])


def test_an_absent_system_prompt_stays_absent_and_an_empty_one_empty() -> None:
    user = {"role": "user", "content": "YES or NO?"}

    for messages in ([user], [{"role": "system", "content": ""}, user]):
        made = recording()
        made.step().llm_call(completion(["YE"]), messages=messages, temperature=1, max_tokens=1)
        row, [log] = finished(made)
        [call] = decoded(row).calls

        assert list(call.messages) == [(one["role"], one["content"]) for one in messages]
        assert log["system_prompt"] == ""  # a column that must be filled
        assert json.loads(log["messages"]) == messages


TOOL = {"type": "function", "function": {"name": "buy", "parameters": {}}}
TOOL_CALL = {"id": "c-1", "type": "function", "function": {"name": "buy", "arguments": "{}"}}
CALLED = {"type": "tool-call", "toolName": "buy", "text": "buys"}
THOUGHT = {"type": "reasoning", "text": "think"}
PICTURE = {"type": "image_url", "image_url": {"url": "data:image/png;base64,AAAA"}}


@pytest.mark.parametrize(
    ("keys", "answer", "carries"),
    [
        ({"tools": [TOOL]}, {}, "tools"),
        (
            {},
            {"message": {"role": "assistant", "content": None, "tool_calls": [TOOL_CALL]}},
            "tools",
        ),
        ({"messages": [*MESSAGES, {"role": "assistant", "tool_calls": [TOOL_CALL]}]}, {}, "tools"),
        ({"messages": [*MESSAGES, {"role": "tool", "content": "3"}]}, {}, "tools"),
        (
            {"messages": [{"role": "user", "content": [{"type": "text", "text": "?"}, PICTURE]}]},
            {},
            "images",
        ),
        (
            {"messages": [*MESSAGES, {"role": "assistant", "function_call": {"name": "b"}}]},
            {},
            "tools",
        ),
        ({"messages": [*MESSAGES, {"role": "assistant", "content": [CALLED]}]}, {}, "tools"),
        ({"messages": [*MESSAGES, {"role": "assistant", "content": [THOUGHT]}]}, {}, "images"),
        ({"messages": [{"role": "user", "content": [{"type": "text", "text": "?"}]}]}, {}, None),
        (
            {"messages": [{"role": "user", "content": [{"type": "input_text", "text": "?"}]}]},
            {},
            None,
        ),
        ({}, {}, None),
    ],
)
def test_what_is_no_text_is_seen_in_the_record(
    keys: dict[str, Any], answer: dict[str, Any], carries: str | None
) -> None:
    made = recording()
    step = made.step()
    step.llm_call(
        completion(["YE"], **answer),
        **{"messages": MESSAGES, "temperature": 1, "max_tokens": 16, **keys},
    )
    row, _ = finished(made)

    [call] = decoded(row).calls

    assert call.carries == carries
    assert "base64" not in row["steps"]  # a picture is no log line


def test_tools_are_recorded_as_they_were_given() -> None:
    answer = completion(
        [], message={"role": "assistant", "content": None, "tool_calls": [TOOL_CALL]}
    )
    messages = [*MESSAGES, {"role": "assistant", "content": "", "tool_calls": [TOOL_CALL]}]

    call = call_of(answer, tools=[TOOL], messages=messages)

    assert call["tools"] == [TOOL]
    assert call["toolCalls"] == [TOOL_CALL]
    assert call["messages"][-1]["tool_calls"] == [TOOL_CALL]


def test_a_completion_without_logprobs_has_none() -> None:
    call = call_of(completion([]))
    assert "logprobs" not in call
    assert "tokenIds" not in call


JSON_ONLY = {"type": "json_object"}


@pytest.mark.parametrize(
    ("parameters", "names"),
    [
        ({"top_k": 40}, ["top_k"]),
        ({"response_format": JSON_ONLY, "min_p": 0.1}, ["min_p", "response_format"]),
        ({"frequency_penalty": 0.5, "presence_penalty": 0}, ["frequency_penalty"]),
        ({"extra_body": {"repetition_penalty": 1.1, "return_token_ids": True}},
         ["repetition_penalty"]),
        ({"temperature": "1"}, ["temperature"]),
        ({"nvext": {"extra_fields": [], "greed_sampling": True}}, ["nvext"]),
    ],
)  # fmt: skip
def test_a_call_that_a_parameter_shaped_is_recorded_as_such(
    parameters: dict[str, Any], names: list[str]
) -> None:
    made = recording()
    made.step().llm_call(
        completion(["YE"]), messages=MESSAGES, temperature=1, max_tokens=1, parameters=parameters
    )
    assert made.steps[0]["llmCalls"][0]["shaped"] == names
    row, _ = finished(made)
    assert decoded(row).calls[0].shaped is True


def test_what_leaves_the_policy_as_it_is_shapes_no_call() -> None:
    asked = {
        "model": "babylon@3",
        "top_k": -1,
        "logit_bias": {},
        "response_format": {"type": "text"},
        "frequency_penalty": None,
        "seed": 4,
        "nvext": {"extra_fields": ["engine_data"]},
        "extra_headers": {"X-Babylon-Agent": "agent-1"},
        "extra_body": {"min_p": 0.0},
    }
    assert "shaped" not in call_of(completion(["YE"]), parameters=asked)


def test_plain_fields_do_as_well_and_win_over_a_completion() -> None:
    call = call_of(
        completion(["YE", "S"]),
        response="NO",
        logprobs=[-1.5],
        token_ids=[9],
        model="other",
        policy=3,
    )
    assert (call["response"], call["logprobs"], call["tokenIds"]) == ("NO", [-1.5], [9])
    assert (call["model"], call["policyStep"]) == ("other", 3)


def test_a_conversation_that_two_prompts_cannot_tell_is_kept_whole() -> None:
    messages = [
        *MESSAGES,
        {"role": "assistant", "content": "?"},
        {"role": "user", "content": "Now!"},
    ]
    call = call_of(completion([]), messages=messages)
    assert call["messages"] == messages
    assert (call["systemPrompt"], call["userPrompt"]) == ("trade", "Now!")
    assert "messages" not in call_of(completion([]))


def test_later_changes_of_the_agents_messages_do_not_reach_the_record() -> None:
    made = recording()
    messages = [dict(message) for message in MESSAGES]
    made.step().llm_call(completion([]), messages=messages, temperature=1, max_tokens=1)
    messages[1]["content"] = "something else"
    messages.append({"role": "user", "content": "more"})
    [call] = made.steps[0]["llmCalls"]
    assert call["userPrompt"] == "YES or NO?"
