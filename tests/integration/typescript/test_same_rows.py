"""The recorder in TypeScript writes the rows that the one in Python writes, and decodes alike."""

from __future__ import annotations

import json
import re
from datetime import UTC, datetime
from typing import Any

import pytest
from factories import WINDOW
from node import run_json

from babylon_tasks import vocabulary
from babylon_tasks.db.session import Connection
from babylon_tasks.db.trajectories import stream_window
from babylon_tasks.decode import decode
from babylon_tasks.errors import BadWindowId
from babylon_tasks.recorder import Recorder
from babylon_tasks.records import Trajectory
from babylon_tasks.settings import Settings
from babylon_tasks.shaped_sampling import KNOWN, NEUTRAL
from babylon_tasks.windows import window_id, window_start

NOW = "2026-01-31T09:00:00.250Z"
LATER = "2026-01-31T09:00:31.500Z"
MESSAGES = [{"role": "system", "content": "trade"}, {"role": "user", "content": "YES or NO?"}]
REQUEST: dict[str, Any] = {"messages": MESSAGES, "temperature": 1, "topP": 1, "maxTokens": 16}


def entries(*tokens: dict[str, Any]) -> dict[str, Any]:
    return {"logprobs": {"content": list(tokens)}}


def completion(*, model: str = "babylon@3", **choice: Any) -> dict[str, Any]:
    message = choice.pop("message", {"role": "assistant", "content": "YES"})
    one = {"index": 0, "finish_reason": "stop", "message": message, **choice}
    usage = {"prompt_tokens": 9, "completion_tokens": 1, "total_tokens": 10}
    return {"id": "x", "model": model, "choices": [one], "usage": usage}


TOOL = {"type": "function", "function": {"name": "trade", "parameters": {}}}
CALLED = {"id": "c", "type": "function", "function": {"name": "trade", "arguments": "{}"}}
PICTURE = {"type": "image_url", "image_url": {"url": "data:,"}}
# A plain parameter may have any value; of the others this one, and more than is asked of Dynamo.
ODD = {
    **dict.fromkeys(sorted(KNOWN), 7),
    "invented": 7,
    "top_p": "1",
    "nvext": {"extra_fields": [], "top_k": 1},
}
A_CALL: dict[str, tuple[Any, dict[str, Any]]] = {
    "art": (completion(**entries({"token": "token_id:7", "logprob": -0.5, "bytes": None})), {}),
    "vllm": (
        {
            **completion(token_ids=[7], **entries({"token": "Y", "logprob": -0.5, "bytes": [89]})),
            "prompt_token_ids": [1, 2],
        },
        {},
    ),
    "llama.cpp": (completion(**entries({"token": "Y", "logprob": -1e-9, "id": 7})), {}),
    "dynamo": (
        {
            **completion(**entries({"token": "Y", "logprob": -0.5, "bytes": [89]})),
            "nvext": {
                "engine_data": {
                    "prompt_token_ids": [1, 2],
                    "completion_token_ids": [7, 2],
                    "completion_logprobs": [-0.5, -0.25],
                }
            },
        },
        {"keepPromptIds": True},
    ),
    "compact": (completion(token_ids=[7, 2], compact_logprobs=[-0.5, -0.25]), {}),
    "texts only": (completion(**entries({"token": "é", "logprob": 0, "bytes": [195, 169]})), {}),
    "ids only": (completion(token_ids=[7, 8]), {}),
    "ids that contradict each other": (
        completion(token_ids=[8], **entries({"token": "Y", "logprob": -0.5, "id": 7})),
        {},
    ),
    "ids of another length": (
        completion(token_ids=[7, 8], **entries({"token": "Y", "logprob": -0.5})),
        {},
    ),
    "none": (completion(), {}),
    "its parts": (
        None,
        {
            "model": "m", "modelVersion": "v1", "response": "NO", "logprobs": [-0.25, -3.5e-7],
            "tokenIds": [1, 2], "policy": 4, "purpose": "reasoning", "actionType": "evaluate",
            "reasoning": "since", "finishReason": "length", "latencyMs": 12.75,
        },
    ),
    "a thought": (
        completion(message={"content": "NO", "reasoning_content": "hm"}),
        {"temperature": 0.7, "topP": None},
    ),
    "a tool": (completion(message={"content": None, "tool_calls": [CALLED]}), {"tools": [TOOL]}),
    "a picture": (completion(), {"messages": [{"role": "user", "content": [PICTURE]}]}),
    "parts of text": (
        completion(),
        {"messages": [{"role": "user", "content": [{"type": "text", "text": t} for t in "ab"]}]},
    ),
    "parts with a text that are none": (
        completion(),
        {
            "messages": [
                {"role": "user", "content": [{"text": "a"}, {"type": "input_text", "text": "b"}]},
                {"role": "assistant", "content": [{"type": "reasoning", "text": "hm"}]},
            ]
        },
    ),
    "a tool in a part": (
        completion(),
        {"messages": [{"role": "assistant", "content": [{"type": "tool-call", "text": "buys"}]}]},
    ),
    "a function call": (
        completion(),
        {"messages": [{"role": "assistant", "content": "", "function_call": {"name": "buy"}}]},
    ),
    "a conversation": (
        completion(),
        {
            "messages": [
                *MESSAGES,
                {"role": "assistant", "content": None, "tool_calls": [CALLED]},
                {"role": "tool", "content": "done", "tool_call_id": "c"},
                {"role": "user", "content": "and now?"},
            ]
        },
    ),
    "an empty system prompt": (
        completion(),
        {"messages": [{"role": "system", "content": ""}, MESSAGES[1]]},
    ),
    "text that no column takes": (
        completion(message={"content": "a\0b \ud83d \U0001f600 ünï"}),
        {},
    ),
    "one answer of several": (
        {**completion(), "choices": [completion()["choices"][0]] * 2},
        {"choice": 1},
    ),
    "an answer in parts": (
        completion(
            message={"content": [{"type": "thinking"}, {"type": "text", "text": "YES"}]}
        ),
        {},
    ),
    "nulls": (completion(), {"topP": None, "tools": None, "response": None, "latencyMs": None}),
    "shaped by all that may": (completion(), {"parameters": ODD}),
    **{
        f"neutral, {place + 1} of each": (
            completion(),
            {"parameters": {k: v[place % len(v)] for k, v in NEUTRAL.items()}},
        )
        for place in range(2)
    },
    "what the answer is to have": (
        completion(),
        {"parameters": {"nvext": {"extra_fields": ["engine_data"]}, "top_k": None}},
    ),
}  # fmt: skip


def played(agent: str, *steps: dict[str, Any], **start: Any) -> dict[str, Any]:
    return {
        "agent": agent,
        "start": {"now": NOW, **start},
        "steps": [{"world": {"now": NOW}, "calls": [], "actions": [], **step} for step in steps],
        "finish": {"finalBalance": 1010.5, "finalPnl": -10, "now": LATER},
    }


def acted(word: str, *, success: bool = True, **done: Any) -> dict[str, Any]:
    parameters = {"marketId": "m-1", "side": "buy_yes", "amount": 10.25}
    return {"type": word, "parameters": parameters, "done": {"success": success, **done}}


def _calls() -> list[dict[str, Any]]:
    return [
        {"completion": made, "call": {k: v for k, v in (REQUEST | own).items() if v is not None}}
        for made, own in A_CALL.values()
    ]


# What JavaScript says of what is not known.
NULLS = {
    "agent": "agent-25",
    "start": {"now": NOW, "archetype": None, "batchId": None, "scenarioId": None},
    "steps": [{"world": {"now": NOW, "balance": None, "pnl": None}, "calls": _calls()[:1],
               "actions": [acted("TRADE", error=None, result=None)]}],
    "finish": {"finalBalance": None, "finalPnl": None, "status": None, "now": LATER},
}  # fmt: skip
WORDS = [*sorted(vocabulary._KNOWN - {""}), "Buy_Shares ", "REPOST", "buyback", "ACTION_OF_NOBODY"]
TRAJECTORIES = [
    *(played(f"agent-{n}", {"calls": [call]}) for n, call in enumerate(_calls())),
    played("agent-20", {"calls": _calls(), "actions": [acted("TRADE")], "reward": 0.1}),
    played("agent-21", *({"actions": [acted(w)], "calls": _calls()[:1]} for w in WORDS)),
    played("agent-22", *({"calls": _calls()[:1], "reward": r} for r in (0.1, 1e15, 0.2, -1e15))),
    played(
        "agent-23",
        {
            "world": {
                "now": NOW, "balance": 1000, "pnl": 0.5, "openPositions": 2, "activeMarkets": 3,
                "providers": [{"providerName": "p", "data": {"a": [1]}, "purpose": "why"}],
            },
            "calls": _calls()[:1],
            "actions": [
                acted("POST"),
                acted("TRADE", success=False, error="no", result={"a": None}, reasoning="r",
                      correctness={"predicted": True}),
            ],
        },
        scenarioId="s" * 100, archetype="degen", window="2026-01-31T09:00", batchId="b",
        isEvaluation=True, metadata={"more": [1, "é"]},
    ),
    played("agent-24"),
    NULLS,
]  # fmt: skip
MOMENTS = ["2026-01-31T09:59:59.999Z", "2026-01-31T00:00:00Z", "0099-12-31T23:00:00Z"]
WINDOWS = [
    WINDOW, "2026-02-29T09:00", "2028-02-29T09:00", "2026-01-31T24:00", "2026-01-31T09:30",
    "0000-01-01T00:00", "2026-1-31T09:00", "yesterday", "2026-01-31T09:00\n", "٢٠٢٦-01-31T09:00",
]  # fmt: skip


def named(camel: dict[str, Any]) -> dict[str, Any]:
    """The same keywords, as Python writes them."""
    changed = {re.sub("[A-Z]", lambda m: f"_{m[0].lower()}", k): v for k, v in camel.items()}
    if "now" in changed:
        changed["now"] = datetime.fromisoformat(changed["now"])
    return changed


def play(recorder: Recorder, played: dict[str, Any]) -> str:
    trajectory = recorder.start(played["agent"], **named(played["start"]))
    for one in played["steps"]:
        step = trajectory.step(**named(one["world"]))
        for asked in one["calls"]:
            step.llm_call(asked["completion"], **named(asked["call"]))
        for action in one["actions"]:
            step.action(action["type"], action["parameters"], **named(action["done"]))
        if "reward" in one:
            step.reward(one["reward"])
    trajectory.finish(**named(played["finish"]))
    return trajectory.trajectory_id


def stored(connection: Connection, names: list[str]) -> list[Any]:
    """Each trajectory's row and its calls', JSON read, without what no two runs share."""
    found = []
    for name in names:
        (row,) = connection.execute(
            'SELECT to_jsonb(t) FROM trajectories t WHERE "trajectoryId" = %s', (name,)
        ).fetchone() or ({},)
        calls = connection.execute(
            'SELECT to_jsonb(l) FROM llm_call_logs l WHERE "trajectoryId" = %s ORDER BY "callId"',
            (name,),
        ).fetchall()
        rows = json.loads(json.dumps([row, *(call for (call,) in calls)]).replace(name, "NAME"))
        for one in rows:
            one.pop("createdAt")
            one.pop("updatedAt", None)
        rows[0].pop("id")
        found.append([{key: plain(key, value) for key, value in one.items()} for one in rows])
    return found


def plain(column: str, value: Any) -> Any:
    is_json = column.endswith("Json") or column == "metadata"
    return json.loads(value) if is_json and value is not None else value


@pytest.fixture
def written(
    database_url: str, settings: Settings, connection: Connection
) -> tuple[dict[str, Any], list[str]]:
    given = {"trajectories": TRAJECTORIES, "moments": MOMENTS, "windows": WINDOWS}
    said = run_json("test/play.ts", given=given, DATABASE_URL=database_url)
    with Recorder(settings) as recorder:
        ours = [play(recorder, one) for one in TRAJECTORIES]
        assert recorder.flush(60)
        assert recorder.recorded == len(TRAJECTORIES)
    return said, ours


def test_the_rows_are_those_that_python_writes(
    written: tuple[dict[str, Any], list[str]], connection: Connection, settings: Settings
) -> None:
    said, ours = written
    assert said["counts"] == {"recorded": len(TRAJECTORIES), "dropped": 0, "failed": 0}
    for theirs, mine in zip(stored(connection, said["ids"]), stored(connection, ours), strict=True):
        assert theirs == mine

    decoded = {
        raw.trajectory_id: decode(raw)
        for chunk in stream_window(connection, WINDOW, settings)
        for raw in chunk
    }
    for theirs, mine in zip(said["ids"], ours, strict=True):
        assert relabelled(decoded[theirs]) == relabelled(decoded[mine])
    first = decoded[said["ids"][0]]
    assert isinstance(first, Trajectory)
    [call] = first.calls
    assert (call.policy_step, call.logprobs, call.token_ids) == (3, (-0.5,), (7,))


def relabelled(found: Any) -> str:
    # Where it says at which byte: 1 is written as 1 there, and as 1.0 here.
    return re.sub(r"\(byte \d+\)", "", repr(found)).replace(found.trajectory_id, "NAME")


def test_its_windows_are_ours(written: tuple[dict[str, Any], list[str]]) -> None:
    said, _ = written
    assert said["windows"] == [window_id(datetime.fromisoformat(one)) for one in MOMENTS]
    assert said["starts"] == [start(window) for window in WINDOWS]


def start(window: str) -> str | None:
    try:
        return window_start(window).astimezone(UTC).isoformat()[:19] + ".000Z"
    except BadWindowId:
        return None
