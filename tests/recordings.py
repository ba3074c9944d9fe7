"""Recordings as agents make them, and the rows that come of them."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import Any

from factories import WINDOW
from openai.types.chat import ChatCompletion

from babylon_tasks.decode import decode
from babylon_tasks.recorder import Recorder
from babylon_tasks.recorder.recording import Recording
from babylon_tasks.recorder.rows import rows_of
from babylon_tasks.records import RawTrajectory, Trajectory

START = datetime(2026, 1, 31, 9, 59, 58, tzinfo=UTC)
MESSAGES = [{"role": "system", "content": "trade"}, {"role": "user", "content": "YES or NO?"}]


def record(recorder: Recorder, count: int) -> None:
    """Record that many trajectories of one window, each by an agent of its own."""
    for number in range(count):
        with recorder.record(f"agent-{number}", window=WINDOW) as trajectory:
            step = trajectory.step(balance=1000, pnl=float(number))
            step.llm_call(
                messages=MESSAGES, response="YES", model="babylon@3", temperature=1, max_tokens=16
            )
            step.action("HOLD", {}, success=True)


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
