"""What Babylon's client libraries, as npm has them, make of answers that are not only text.

The checkpoint's server is played, so that it says what the test wants.
"""

from __future__ import annotations

import json
from collections.abc import Callable
from contextlib import AbstractContextManager
from typing import Any

import pytest
from babylons_clients import CLIENTS, ask
from gateways import Played

from babylon_tasks.gateway import chat

pytestmark = pytest.mark.contract(None)

BOTH = [{"client": client, "stream": stream} for client in CLIENTS for stream in (False, True)]
STREAMS = [{"client": client, "stream": True} for client in CLIENTS]
USAGE = {"prompt_tokens": 9, "completion_tokens": 3, "total_tokens": 12}
INPUTS = [{"side": "YES"}, {"side": "NO", "note": "é\n"}]


Play = Callable[..., AbstractContextManager[Played]]


def completion(message: dict[str, Any], finish_reason: str = "stop") -> bytes:
    choice = {"index": 0, "message": {"role": "assistant", **message}}
    reply = {"id": "x", "object": "chat.completion", "created": 1, "model": "m", "usage": USAGE}
    return json.dumps({**reply, "choices": [{**choice, "finish_reason": finish_reason}]}).encode()


def call(number: int, given: dict[str, Any]) -> dict[str, Any]:
    function = {"name": "trade", "arguments": json.dumps(given)}
    return {"id": f"call-{number}", "type": "function", "function": function}


def test_tool_calls(played: Play) -> None:
    calls = [call(number, given) for number, given in enumerate(INPUTS)]
    with played() as made:
        made.trainer.content = completion({"content": None, "tool_calls": calls}, "tool_calls")
        answers = ask(made.url, *({**one, "tools": True} for one in BOTH))
    for request, found in zip(BOTH, answers, strict=True):
        assert found.get("tools") == [{"name": "trade", "input": given} for given in INPUTS], (
            request,
            found,
        )
        assert found["finishReason"].replace("-", "_") == "tool_calls"
        assert found["text"] == ""


def test_usage(played: Play) -> None:
    with played() as made:
        made.trainer.content = completion({"content": "buy"})
        answers = ask(made.url, *BOTH)
    for request, found in zip(BOTH, answers, strict=True):
        assert (found.get("inputTokens"), found.get("outputTokens")) == (9, 3), (request, found)


@pytest.fixture
def impatient(monkeypatch: pytest.MonkeyPatch) -> None:
    """A stream begins, with a comment, before its answer is there."""
    monkeypatch.setattr(chat, "QUIET_SECONDS", 0.05)


@pytest.mark.usefixtures("impatient")
def test_comments_in_a_stream(played: Play) -> None:
    with played() as made:
        made.trainer.seconds = 0.3
        made.trainer.content = completion({"content": "buy"})
        answers = ask(made.url, *STREAMS)
    for request, found in zip(STREAMS, answers, strict=True):
        assert (found.get("text"), found.get("model")) == ("buy", "tests@0"), (request, found)


@pytest.mark.usefixtures("impatient")
def test_a_fallback_in_a_stream_that_has_begun(played: Play) -> None:
    deltas = [{"role": "assistant", "content": "ho"}, {"content": "ld"}]
    chunks = [
        {"id": "x", "object": "chat.completion.chunk", "created": 1, "model": "m",
         "choices": [{"index": 0, "delta": delta, "finish_reason": finish}]}
        for delta, finish in zip([*deltas, {}], (None, None, "stop"), strict=True)
    ]  # fmt: skip
    with played(gateway_fallback="other/m") as made:
        made.trainer.seconds, made.trainer.status = 0.3, 500
        made.other.kind = "text/event-stream"
        events = [json.dumps(chunk).encode() for chunk in chunks]
        made.other.content = b"".join(b"data: %b\n\n" % one for one in [*events, b"[DONE]"])
        answers = ask(made.url, *STREAMS)
    for request, found in zip(STREAMS, answers, strict=True):
        assert (found.get("text"), found.get("model")) == ("hold", "m"), (request, found)


@pytest.mark.usefixtures("impatient")
def test_an_error_in_a_stream_that_has_begun(played: Play) -> None:
    with played() as made:
        made.trainer.seconds, made.trainer.status = 0.3, 500
        answers = ask(made.url, *STREAMS)
    for request, found in zip(STREAMS, answers, strict=True):
        assert "tests@0 gave no answer (error)" in found.get("message", ""), (request, found)
