"""What is recorded has Babylon's shape A, and the project's own decoder reads it back."""

from __future__ import annotations

import json
import math
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
from openai.types.chat import ChatCompletion

from babylon_tasks.decode import decode
from babylon_tasks.recorder.recording import Recording, Step
from babylon_tasks.recorder.rows import rows_of
from babylon_tasks.records import RawTrajectory, Trajectory

START = datetime(2026, 1, 31, 9, 59, 58, tzinfo=UTC)
MESSAGES = [{"role": "system", "content": "trade"}, {"role": "user", "content": "YES or NO?"}]


def recording() -> Recording:
    facts = {
        "id": "id-1",
        "trajectory_id": "t-1",
        "agent_id": "agent-1",
        "window": "2026-01-31T09:00",
        "scenario_id": "2026-01-31T09:00",
        "episode_id": "e-1",
        "batch_id": None,
        "is_evaluation": False,
        "metadata": {"isTrainingData": True},
    }
    return Recording(facts, START, [].append)


def completion(tokens: list[str], **choice: Any) -> ChatCompletion:
    content = [
        {"token": token, "bytes": None, "logprob": -0.25 * n, "top_logprobs": []}
        for n, token in enumerate(tokens, 1)
    ]
    return ChatCompletion.model_validate(
        {
            "id": "c-1",
            "object": "chat.completion",
            "created": 1,
            "model": "babylon@12",
            "choices": [
                {
                    "index": 0,
                    "finish_reason": "stop",
                    "message": {"role": "assistant", "content": "YES"},
                    "logprobs": {"content": content} if tokens else None,
                    **choice,
                }
            ],
            "usage": {"prompt_tokens": 40, "completion_tokens": 2, "total_tokens": 42},
        }
    )


def call_of(answer: Any, **keys: Any) -> dict[str, Any]:
    made = recording()
    step = made.step(balance=1000, pnl=0)
    step.llm_call(answer, **{"messages": MESSAGES, "temperature": 1, "max_tokens": 16, **keys})
    assert made.broken is None
    [call] = made.steps[0]["llmCalls"]
    return dict(call)


def finished(made: Recording, **ending: Any) -> tuple[dict[str, Any], list[dict[str, Any]]]:
    made.finish(**ending)
    assert made.broken is None
    return rows_of(made)


def decoded(row: dict[str, Any]) -> Trajectory:
    """What the project's own decoder reads of a recorded row."""
    found = decode(
        RawTrajectory(
            trajectory_id="t-1",
            agent_id="agent-1",
            scenario_id=None,
            steps_json=row["steps"],
            steps_bytes=len(row["steps"]),
            final_pnl=None,
            is_evaluation=False,
            is_training_data=True,
        )
    )
    assert isinstance(found, Trajectory), found
    return found


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


def test_tokens_that_were_counted_for_several_answers_together_are_nobodys() -> None:
    answer = completion(["YE"]).model_dump()
    answer["choices"].append({**answer["choices"][0], "index": 1})

    assert "completionTokens" not in call_of(answer, choice=1)
    assert call_of(answer)["promptTokens"] == 40


def test_prompt_ids_tell_how_many_they_are_where_the_usage_does_not() -> None:
    answer = completion(["YE"]).model_dump()
    answer |= {"usage": None, "prompt_token_ids": list(range(17))}

    assert call_of(answer)["promptTokens"] == 17


def test_an_absent_system_prompt_stays_absent_and_an_empty_one_empty() -> None:
    user = {"role": "user", "content": "YES or NO?"}

    for said in ([user], [{"role": "system", "content": ""}, user]):
        made = recording()
        made.step().llm_call(completion(["YE"]), messages=said, temperature=1, max_tokens=1)
        row, [log] = finished(made)
        [call] = decoded(row).calls

        assert list(call.messages) == [(one["role"], one["content"]) for one in said]
        assert log["system_prompt"] == ""  # a column that must be filled
        assert json.loads(log["messages"]) == said


TOOL = {"type": "function", "function": {"name": "buy", "parameters": {}}}
TOOL_CALL = {"id": "c-1", "type": "function", "function": {"name": "buy", "arguments": "{}"}}
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
        ({"messages": [{"role": "user", "content": [{"type": "text", "text": "?"}]}]}, {}, None),
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
    said = [*MESSAGES, {"role": "assistant", "content": "", "tool_calls": [TOOL_CALL]}]

    call = call_of(answer, tools=[TOOL], messages=said)

    assert call["tools"] == [TOOL]
    assert call["toolCalls"] == [TOOL_CALL]
    assert call["messages"][-1]["tool_calls"] == [TOOL_CALL]


def test_a_completion_without_logprobs_has_none() -> None:
    call = call_of(completion([]))
    assert "logprobs" not in call
    assert "tokenIds" not in call


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
    said = [*MESSAGES, {"role": "assistant", "content": "?"}, {"role": "user", "content": "Now!"}]
    call = call_of(completion([]), messages=said)
    assert call["messages"] == said
    assert (call["systemPrompt"], call["userPrompt"]) == ("trade", "Now!")
    assert "messages" not in call_of(completion([]))


def test_later_changes_of_the_agents_messages_do_not_reach_the_record() -> None:
    made = recording()
    said = [dict(message) for message in MESSAGES]
    made.step().llm_call(completion([]), messages=said, temperature=1, max_tokens=1)
    said[1]["content"] = "something else"
    said.append({"role": "user", "content": "more"})
    [call] = made.steps[0]["llmCalls"]
    assert call["userPrompt"] == "YES or NO?"


def two_steps() -> Recording:
    made = recording()
    first = made.step(
        balance=1000,
        pnl=12.5,
        open_positions=1,
        active_markets=22,
        providers=[{"providerName": "FEED", "data": {"a": 1}, "purpose": "news"}],
        now=START,
    )
    first.llm_call(completion(["YE", "S"]), messages=MESSAGES, temperature=1, max_tokens=16)
    first.action(
        "BUY_SHARES",
        {"marketId": "m-1", "side": "YES"},
        success=True,
        result={"shares": 3},
        correctness={"predictionCorrect": True},
    )
    first.reward(0.25)
    second = made.step(balance=990, pnl=10, now=START + timedelta(seconds=1))
    second.action("CREATE_POST", success=False, error="too long")
    return made


def test_the_row_holds_every_column_that_babylon_demands() -> None:
    row, _ = finished(
        two_steps(), final_balance=995, final_pnl=22.5, now=START + timedelta(seconds=4)
    )
    steps = json.loads(row.pop("steps"))
    assert steps[0] == {
        "stepNumber": 0,
        "timestamp": 1769853598000,
        "environmentState": {
            "agentBalance": 1000.0,
            "agentPnL": 12.5,
            "openPositions": 1,
            "activeMarkets": 22,
        },
        "providerAccesses": [{"providerName": "FEED", "data": {"a": 1}, "purpose": "news"}],
        "llmCalls": [call_of(completion(["YE", "S"]))],
        "action": {
            "actionType": "BUY_SHARES",
            "parameters": {"marketId": "m-1", "side": "YES"},
            "success": True,
            "result": {"shares": 3},
            "correctness": {"predictionCorrect": True},
        },
        "reward": 0.25,
    }
    assert steps[1]["action"]["error"] == "too long"
    assert json.loads(row.pop("metrics")) == {
        "episodeLength": 2,
        "finalStatus": "completed_with_errors",
        "finalBalance": 995.0,
        "finalPnL": 22.5,
        "tradesExecuted": 1,
        "postsCreated": 0,
        "errorCount": 1,
    }
    assert json.loads(row.pop("reward_components")) == {"environmentReward": 0.25}
    assert json.loads(row.pop("metadata")) == {"isTrainingData": True}
    assert row == {
        "id": "id-1",
        "trajectory_id": "t-1",
        "agent_id": "agent-1",
        "start_time": datetime(2026, 1, 31, 9, 59, 58),
        "end_time": datetime(2026, 1, 31, 10, 0, 2),
        "duration_ms": 4000,
        "window": "2026-01-31T09:00",
        "episode_id": "e-1",
        "scenario_id": "2026-01-31T09:00",
        "archetype": None,
        "batch_id": None,
        "total_reward": 0.25,
        "episode_length": 2,
        "final_status": "completed_with_errors",
        "final_balance": 995.0,
        "final_pnl": 22.5,
        "trades_executed": 1,
        "posts_created": 0,
        "is_training_data": True,
        "is_evaluation": False,
    }


def test_each_call_has_a_row_of_its_own() -> None:
    _, [call] = finished(two_steps())
    assert json.loads(call.pop("messages")) == MESSAGES
    assert json.loads(call.pop("metadata")) == {"policyStep": 12}
    assert call == {
        "id": "t-1-call-0-0",
        "trajectory_id": "t-1",
        "step_id": "t-1-step-0",
        "call_id": "t-1-call-0-0",
        "timestamp": datetime(2026, 1, 31, 9, 59, 58),
        "latency_ms": None,
        "model": "babylon@12",
        "purpose": "action",
        "action_type": None,
        "system_prompt": "trade",
        "user_prompt": "YES or NO?",
        "response": "YES",
        "reasoning": None,
        "temperature": 1.0,
        "max_tokens": 16,
        "top_p": None,
        "prompt_tokens": 40,
        "completion_tokens": 2,
        "total_tokens": 42,
    }


def test_the_decoder_reads_back_what_was_recorded() -> None:
    row, _ = finished(two_steps(), final_pnl=22.5)
    steps = row["steps"]
    found = decode(RawTrajectory("t-1", "a", None, steps, len(steps), 22.5, False, True))
    assert isinstance(found, Trajectory)
    [call] = found.calls
    assert call.messages == (("system", "trade"), ("user", "YES or NO?"))
    assert (call.policy_step, call.logprobs, call.tokens) == (12, (-0.25, -0.5), ("YE", "S"))
    assert (found.first_pnl, found.last_pnl) == (12.5, 10.0)
    assert found.decisions[0].correct is True


def test_a_step_without_an_action_is_marked_as_never_completed() -> None:
    made = recording()
    made.step(pnl=0)
    row, _ = finished(made)
    assert json.loads(row["steps"])[0]["action"]["actionType"] == "pending"


def odd_text(text: str) -> Recording:
    made = recording()
    made.step(pnl=math.nan).llm_call(
        messages=[{"role": "user", "content": text}], response=text, temperature=1, max_tokens=1
    )
    return made


@pytest.mark.parametrize("text", ["a\0b", "half \ud800", "both \0 \udc00"])
def test_text_that_postgres_cannot_hold_is_escaped_in_steps_and_replaced_in_logs(
    text: str,
) -> None:
    row, [call] = finished(odd_text(text))
    for column in (row["steps"], call["response"], call["user_prompt"], call["messages"]):
        assert "\0" not in column
        column.encode()
    [step] = json.loads(row["steps"])
    assert step["llmCalls"][0]["response"] == text
    assert step["environmentState"]["agentPnL"] is None


def test_objects_that_json_does_not_know_become_text() -> None:
    made = recording()
    made.step().action("BUY_SHARES", {"amount": object, "at": START}, success=True)
    row, _ = finished(made)
    assert "2026-01-31" in json.loads(row["steps"])[0]["action"]["parameters"]["at"]


def _not_a_completion(step: Step) -> None:
    step.llm_call(object(), messages=MESSAGES, temperature=1, max_tokens=1)


def _not_messages(step: Step) -> None:
    step.llm_call(completion([]), messages=7, temperature=1, max_tokens=1)  # type: ignore[arg-type]


def _not_a_number(step: Step) -> None:
    step.reward("high")  # type: ignore[arg-type]


@pytest.mark.parametrize("mistake", [_not_a_completion, _not_messages, _not_a_number])
def test_a_mistake_in_recording_costs_the_trajectory_and_not_the_agent(mistake: Any) -> None:
    made = recording()
    mistake(made.step(pnl=0))
    made.finish()
    assert made.broken
