"""Other servers' answers are read for their hashes: whole, or as the streams of each kind."""

from __future__ import annotations

import json
from datetime import UTC, datetime
from typing import Any
from uuid import UUID

import msgspec
import pytest

from babylon_tasks.arms import Arm
from babylon_tasks.dataset.text_hashes import text_hashes
from babylon_tasks.gateway.asker import AgentSource, Asker
from babylon_tasks.gateway.captured import PassedOn, captured
from babylon_tasks.gateway.passed_answer import read_passed
from babylon_tasks.gateway.request import GatewayRequest

USAGE = {"prompt_tokens": 9, "completion_tokens": 2}
WHOLE = {
    "model": "qwen/q-2026",
    "choices": [{"index": 0, "message": {"content": "buy é"}, "finish_reason": "stop"}],
    "usage": USAGE,
}


def chunk(delta: dict[str, Any], finish: str | None = None, index: int = 0) -> dict[str, Any]:
    return {"choices": [{"index": index, "delta": delta, "finish_reason": finish}]}


def stream(*chunks: dict[str, Any], end: str = "\n") -> bytes:
    lines = [": waiting", "", *(f"data: {json.dumps(one)}" for one in chunks), "", "data: [DONE]"]
    return end.join(lines).encode()


PARTS = [
    chunk({"role": "assistant", "content": ""}),
    chunk({"content": "buy"}),
    chunk({"content": "sell"}, index=1),
    chunk({"content": " é", "tool_calls": None}),
]
OPENAIS = stream(*PARTS, chunk({}, "stop"), {"choices": [], "usage": USAGE})
GROQS = stream(*PARTS, {**chunk({}, "stop"), "x_groq": {"usage": USAGE}}, end="\r\n")


@pytest.mark.parametrize(
    ("content", "streamed"),
    [(json.dumps(WHOLE).encode(), False), (OPENAIS, True), (GROQS, True)],
    ids=["whole", "openai", "groq"],
)
def test_an_answer_is_read(content: bytes, streamed: bool) -> None:
    found = read_passed(content, streamed=streamed)
    assert (found.response, found.finish_reason) == ("buy é", "stop")
    assert (found.prompt_tokens, found.completion_tokens) == (9, 2)


@pytest.mark.parametrize(
    ("content", "streamed"),
    [
        (b"\x1f\x8b\x08", False),  # compressed
        (b"[]", False),
        (b'{"choices":[]}', False),
        (b'data: {"choices":\n', True),
        (b'data: {"choices":[3]}\n', True),
        (b"", True),
        (OPENAIS + b'\n\ndata: {"error":{"message":"overloaded"}}\n\n', True),
        (b'data: {"error":{"message":"overloaded"}}\n\n', True),
    ],
    ids=str,
)
def test_what_is_no_answer_is_refused(content: bytes, streamed: bool) -> None:
    with pytest.raises((msgspec.MsgspecError, LookupError, TypeError, AttributeError, ValueError)):
        read_passed(content, streamed=streamed)


def test_who_gave_it_is_kept_and_neither_text_nor_ids() -> None:
    messages = [{"role": "system", "content": "You trade."}, {"role": "user", "content": "Up?"}]
    asked = {"model": "babylon", "messages": messages, "temperature": 0.7, "stream": False}
    answer = {**WHOLE, "choices": [{**WHOLE["choices"][0], "token_ids": [1], "logprobs": None}]}
    content = json.dumps(answer).encode()
    made = captured(
        PassedOn(
            capture_id=UUID(int=1),
            asked_at=datetime(2026, 1, 31, 9, 5, tzinfo=UTC),
            asked=GatewayRequest(json.dumps(asked).encode()),
            asker=Asker("agent-7", AgentSource.HEADER),
            client="agents",
            latency_ms=12,
            size=1,
            arm=Arm.CONTROL,
            lineage="babylon",
            server="groq",
            model="qwen/q",
            content=content,
        )
    )
    hashes = text_hashes([("system", "You trade."), ("user", "Up?")], "buy é")
    assert (made.system_hash, made.user_hash, made.answer_hash) == (
        hashes.system,
        hashes.user,
        hashes.answer,
    )
    assert (made.lineage, made.step, made.server, made.model) == ("babylon", None, "groq", "qwen/q")
    assert (made.agent, made.arm, made.window_id) == ("agent-7", "control", "2026-01-31T09:00")
    assert (made.token_ids, made.logprobs, made.sample_state) == (None, None, "passed_on")
    assert (made.prompt_tokens, made.completion_tokens, made.latency_ms) == (9, 2, 12)
    # What this server takes for a missing top_p is not known.
    assert json.loads(made.sampling) == {"temperature": 0.7, "others": ["model", "stream"]}
