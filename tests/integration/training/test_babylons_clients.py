"""Babylon's client libraries, as npm has them, against the gateway before the `cpu` endpoint.

Nothing of an agent is changed but the base URL, the key and the model's name.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from endpoint import Endpoint
from gateways import KEY, opened
from node import run_json

from babylon_tasks.db.session import Connection
from babylon_tasks.settings import Settings

pytestmark = pytest.mark.contract(None)

SYSTEM = {"role": "system", "content": "You trade."}
QUESTION = {"role": "user", "content": "Will ACME close higher?"}
PARTS = [{"type": "text", "text": text} for text in ("Will ACME", " close higher?")]
AI_SDK = ("groq", "openai-compatible")
CLIENTS = (*AI_SDK, "openai")
# Most answers end at their first vowel: no test waits for a thousand tokens.
NO_LIMIT: dict[str, Any] = {"stop": list("aeiou")}
BABYLONS = {"maxOutputTokens": 8192, **NO_LIMIT}  # our endpoint takes 1024


@pytest.fixture
def ask(
    serve: Callable[..., Endpoint],
    make_settings: Callable[..., Settings],
    connection: Connection,
    tmp_path: Path,
) -> Iterator[Callable[..., list[dict[str, Any]]]]:
    """``ask(request, ...)``: what the clients make of the gateway's answers, in order."""
    with opened(make_settings, connection, f"{serve().url}/v1", tmp_path) as url:

        def asked(*requests: dict[str, Any]) -> list[dict[str, Any]]:
            plain = {"model": "tests", "messages": [SYSTEM, QUESTION]}
            given = {"baseURL": url, "apiKey": KEY, "asked": [plain | one for one in requests]}
            found: list[dict[str, Any]] = run_json("test/ask.ts", given=given)
            return found

        yield asked


Ask = Callable[..., list[dict[str, Any]]]


def test_an_answer_comes_whole_and_as_a_stream(ask: Ask) -> None:
    requests = [
        {"client": client, "stream": stream, **limit}
        for client in CLIENTS
        for stream in (False, True)
        for limit in ({"maxOutputTokens": 4}, BABYLONS, NO_LIMIT)
    ]
    for request, found in zip(requests, ask(*requests), strict=True):
        assert "error" not in found, (request, found)
        assert found["model"] == "tests@0", request
        assert found["text"] or "stop" in request, request
        assert found["finishReason"] in ("stop", "length"), request
        assert found.get("inputTokens", 0) > 10, (request, found)
        assert 0 < found["outputTokens"] <= request.get("maxOutputTokens", 128), request


def test_content_as_parts_and_a_conversation_are_taken(ask: Ask) -> None:
    before = [QUESTION, {"role": "assistant", "content": "YES"}]
    whole = {"role": "user", "content": PARTS}
    requests = [
        {"client": client, "messages": messages, "maxOutputTokens": 4}
        for client in CLIENTS
        for messages in ([SYSTEM, whole], [*before, QUESTION])
    ]
    for request, found in zip(requests, ask(*requests), strict=True):
        assert "error" not in found, (request, found)
        assert found["outputTokens"] > 0


def test_what_is_refused_is_an_error_of_the_clients_own_kind(ask: Ask) -> None:
    refused: list[tuple[dict[str, Any], int, str]] = [
        ({"model": "nobody"}, 404, "no model 'nobody' here"),
        ({"apiKey": "a-key-of-nobody-0"}, 401, "BABYLON_GATEWAY_KEYS"),
        ({"json": True}, 400, "response_format is not supported here"),
        ({"tools": True}, 400, "tools is not supported here"),
        ({"messages": [{"role": "user", "content": "word " * 3000}]}, 400, "the prompt has"),
    ]
    requests = [
        (client, {"client": client, "stream": stream, **request}, status, said)
        for client in AI_SDK
        for stream in (False, True)
        for request, status, said in refused
    ]
    answers = ask(*(request for _, request, _, _ in requests))
    for (_, request, status, said), found in zip(requests, answers, strict=True):
        assert (found.get("status"), found.get("again")) == (status, False), (request, found)
        assert said in found["message"], (request, found)


def test_an_agent_that_gives_up_is_let_go(ask: Ask) -> None:
    given_up = [{"client": client, "abort": True, "maxOutputTokens": 1024} for client in AI_SDK]
    for found in ask(*given_up):
        assert found["error"] in ("TimeoutError", "AbortError"), found
    (found,) = ask({"client": "groq", "maxOutputTokens": 1})
    assert found["text"]
