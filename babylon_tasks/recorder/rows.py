"""Convert a finished recording to the rows of Babylon's tables. Pure."""

from __future__ import annotations

import json
import math
from datetime import UTC, datetime, timedelta
from typing import Any

import msgspec

from babylon_tasks.recorder.recording import Recording
from babylon_tasks.vocabulary import kind

_INT4 = 2**31 - 1


def rows_of(recording: Recording) -> tuple[dict[str, Any], list[dict[str, Any]]]:
    """Make the row of ``trajectories`` and those of ``llm_call_logs``."""
    facts, steps, ending = recording.facts, recording.steps, recording.ending
    actions = [step["action"] for step in steps]
    done = [kind(action["actionType"]) for action in actions if action["success"]]
    errors = sum(not action["success"] for action in actions)
    reward = math.fsum(step["reward"] for step in steps)
    metrics = {
        "episodeLength": len(steps),
        "finalStatus": ending["status"] or ("completed_with_errors" if errors else "completed"),
        "finalBalance": ending["final_balance"],
        "finalPnL": ending["final_pnl"],
        "tradesExecuted": sum(meant.trade for meant in done),
        "postsCreated": sum(meant.post for meant in done),
        "errorCount": errors,
    }
    start = recording.started
    trajectory = {
        "id": facts["id"],
        "trajectory_id": facts["trajectory_id"],
        "agent_id": facts["agent_id"],
        "start_time": _naive(start),
        "end_time": _naive(start + timedelta(milliseconds=ending["elapsed_ms"])),
        "duration_ms": min(_INT4, ending["elapsed_ms"]),
        "window": facts["window"],
        "episode_id": facts["episode_id"],
        "scenario_id": facts["scenario_id"],
        "archetype": facts.get("archetype"),
        "batch_id": facts["batch_id"],
        "steps": to_json(steps),
        "reward_components": to_json({"environmentReward": reward}),
        "metrics": to_json({key: value for key, value in metrics.items() if value is not None}),
        "metadata": to_json(facts["metadata"]),
        "total_reward": reward,
        "episode_length": len(steps),
        "final_status": metrics["finalStatus"],
        "final_balance": ending["final_balance"],
        "final_pnl": ending["final_pnl"],
        "trades_executed": metrics["tradesExecuted"],
        "posts_created": metrics["postsCreated"],
        "is_training_data": not facts["is_evaluation"],
        "is_evaluation": facts["is_evaluation"],
    }
    calls = [
        _call(facts["trajectory_id"], step, number, call)
        for step in steps
        for number, call in enumerate(step["llmCalls"])
    ]
    return trajectory, calls


def to_json(value: Any) -> str:
    """Encode JSON as JSON.stringify does: no NaN, half a character as an escape."""
    try:
        return msgspec.json.encode(value, enc_hook=str).decode()
    except UnicodeEncodeError:
        # Half of a surrogate pair: json escapes it, but needs NaN replaced first.
        plain = msgspec.to_builtins(value, enc_hook=str)
        return json.dumps(_without_nan(plain), separators=(",", ":"))


def _call(
    trajectory_id: str, step: dict[str, Any], number: int, call: dict[str, Any]
) -> dict[str, Any]:
    chat = call.get("messages") or [
        {"role": "system", "content": call["systemPrompt"]},
        {"role": "user", "content": call["userPrompt"]},
    ]
    prompt, answer = call.get("promptTokens"), call.get("completionTokens")
    latency = call.get("latencyMs")
    extra = {key: call[key] for key in ("modelVersion", "policyStep") if key in call}
    call_id = f"{trajectory_id}-call-{step['stepNumber']}-{number}"
    return {
        "id": call_id,
        "trajectory_id": trajectory_id,
        "step_id": f"{trajectory_id}-step-{step['stepNumber']}",
        "call_id": call_id,
        "timestamp": _naive(datetime.fromtimestamp(step["timestamp"] / 1000, UTC)),
        "latency_ms": None if latency is None else round(latency),
        "model": _storable(call["model"]),
        "purpose": call["purpose"],
        "action_type": call.get("actionType"),
        "system_prompt": _storable(call["systemPrompt"]),
        "user_prompt": _storable(call["userPrompt"]),
        "messages": to_json(chat),
        "response": _storable(call["response"]),
        "reasoning": _storable(call["reasoning"]) if "reasoning" in call else None,
        "temperature": call["temperature"],
        "max_tokens": call["maxTokens"],
        "top_p": call.get("topP"),
        "prompt_tokens": prompt,
        "completion_tokens": answer,
        "total_tokens": None if prompt is None or answer is None else prompt + answer,
        "metadata": to_json(extra) if extra else None,
    }


def _storable(text: str) -> str:
    # A text column accepts neither NUL nor half a character; stepsJson keeps both, as escapes.
    return text.replace("\0", "\ufffd").encode("utf-8", "replace").decode()


def _without_nan(value: Any) -> Any:
    if isinstance(value, float):
        return value if math.isfinite(value) else None
    if isinstance(value, dict):
        return {key: _without_nan(item) for key, item in value.items()}
    if isinstance(value, list):
        return [_without_nan(item) for item in value]
    return value


def _naive(moment: datetime) -> datetime:
    # Babylon's columns have no time zone and mean UTC.
    return moment.astimezone(UTC).replace(tzinfo=None)
