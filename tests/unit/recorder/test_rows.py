"""What is recorded has Babylon's shape A, and the project's own decoder reads it back."""

from __future__ import annotations

import json
import math
from datetime import datetime, timedelta
from typing import Any

import pytest
from recordings import MESSAGES, START, call_of, completion, finished, recording

from babylon_tasks.decode import decode
from babylon_tasks.recorder.recording import AgentStep, Recording
from babylon_tasks.records import RawTrajectory, Trajectory


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
    assert found.actions[0].correct is True


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


def _not_a_completion(step: AgentStep) -> None:
    step.llm_call(object(), messages=MESSAGES, temperature=1, max_tokens=1)


def _not_messages(step: AgentStep) -> None:
    step.llm_call(completion([]), messages=7, temperature=1, max_tokens=1)  # type: ignore[arg-type]


def _not_a_number(step: AgentStep) -> None:
    step.reward("high")  # type: ignore[arg-type]


@pytest.mark.parametrize("mistake", [_not_a_completion, _not_messages, _not_a_number])
def test_a_mistake_in_recording_costs_the_trajectory_and_not_the_agent(mistake: Any) -> None:
    made = recording()
    mistake(made.step(pnl=0))
    made.finish()
    assert made.broken
