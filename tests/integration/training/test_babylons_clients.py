"""Babylon's client libraries, as npm has them, against the gateway before the `cpu` endpoint.

Nothing of an agent is changed but the base URL, the key and the model's name.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from functools import partial
from pathlib import Path
from typing import Any

import pytest
from babylons_clients import AI_SDK, CLIENTS, QUESTION, SYSTEM, ask
from endpoint import Endpoint, until
from factories import action, insert_trajectories, llm_call, step, trajectory
from gateways import opened
from scored_windows import column

from babylon_tasks.db.session import Connection
from babylon_tasks.db.trajectories import stream_window
from babylon_tasks.decode import decode
from babylon_tasks.pipeline.join_calls import CallJoin, JoinMode, JoinResult
from babylon_tasks.records import Trajectory
from babylon_tasks.settings import Settings

pytestmark = pytest.mark.contract(None)

PARTS = [{"type": "text", "text": text} for text in ("Will ACME", " close higher?")]
# Most answers end at their first vowel: no test waits for a thousand tokens.
NO_LIMIT: dict[str, Any] = {"stop": list("aeiou")}
BABYLONS = {"maxOutputTokens": 8192, **NO_LIMIT}  # our endpoint takes 1024


Ask = Callable[..., list[dict[str, Any]]]


@pytest.fixture
def asked(
    serve: Callable[..., Endpoint],
    make_settings: Callable[..., Settings],
    connection: Connection,
    tmp_path: Path,
) -> Iterator[Ask]:
    """``asked(request, ...)``: what the clients make of the gateway's answers, in order."""
    trainer = f"{serve().url}/v1"
    with opened(make_settings, connection, trainer, tmp_path, gateway_temperature=1) as url:
        yield partial(ask, url)


def test_an_answer_comes_whole_and_as_a_stream(asked: Ask) -> None:
    requests = [
        {"client": client, "stream": stream, **limit}
        for client in CLIENTS
        for stream in (False, True)
        for limit in ({"maxOutputTokens": 4}, BABYLONS, NO_LIMIT)
    ]
    for request, found in zip(requests, asked(*requests), strict=True):
        assert "error" not in found, (request, found)
        assert found["model"] == "tests@0", request
        assert found["text"] or "stop" in request, request
        assert found["finishReason"] in ("stop", "length"), request
        assert found.get("inputTokens", 0) > 10, (request, found)
        assert 0 < found["outputTokens"] <= request.get("maxOutputTokens", 128), request


def test_content_as_parts_and_a_conversation_are_taken(asked: Ask) -> None:
    before = [QUESTION, {"role": "assistant", "content": "YES"}]
    whole = {"role": "user", "content": PARTS}
    requests = [
        {"client": client, "messages": messages, "maxOutputTokens": 4}
        for client in CLIENTS
        for messages in ([SYSTEM, whole], [*before, QUESTION])
    ]
    for request, found in zip(requests, asked(*requests), strict=True):
        assert "error" not in found, (request, found)
        assert found["outputTokens"] > 0


def test_what_is_refused_is_an_error_of_the_clients_own_kind(asked: Ask) -> None:
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
    answers = asked(*(request for _, request, _, _ in requests))
    for (_, request, status, said), found in zip(requests, answers, strict=True):
        assert (found.get("status"), found.get("again")) == (status, False), (request, found)
        assert said in found["message"], (request, found)


@pytest.mark.contract("today")
def test_what_they_returned_is_joined_to_what_was_captured(
    asked: Ask, connection: Connection, make_settings: Callable[..., Settings]
) -> None:
    """Rows as Babylon's recorder writes them: texts, a provider's name, no ids."""
    each = [(client, stream, n) for client in AI_SDK for stream in (False, True) for n in range(4)]
    questions = [f"{QUESTION['content']} ({client} {stream} {n})" for client, stream, n in each]
    requests = [
        {
            "client": client,
            "stream": stream,
            "messages": [SYSTEM, {"role": "user", "content": question}],
            "temperature": 0.7,
            **({"maxOutputTokens": 24} if n % 2 else BABYLONS),
        }
        for (client, stream, n), question in zip(each, questions, strict=True)
    ]
    answers = asked(*requests)
    until(lambda: column(connection, "SELECT count(*) FROM training.calls") == [len(answers)])
    [window, *_] = column(connection, "SELECT window_id FROM training.calls")
    texts = [found["text"] for found in answers]
    steps = [
        step(
            number,
            [
                llm_call(
                    text,
                    model="huggingface",
                    temperature=0.7,
                    systemPrompt=SYSTEM["content"],
                    userPrompt=question,
                )
            ],
            action=action("TRADE", market="m-1"),
        )
        for number, (question, text) in enumerate(zip(questions, texts, strict=True))
    ]
    insert_trajectories(connection, [trajectory(window, "agent-1", steps)])

    ((raw,),) = stream_window(connection, window, make_settings(lineage="tests"))
    recorded = decode(raw)
    assert isinstance(recorded, Trajectory), recorded
    join = CallJoin(connection, window, JoinMode.CLAIM)
    [found] = join.join([recorded])
    assert join.results == {JoinResult.EXACT: len(answers)}
    for call, answer in zip(found.trajectory.calls, answers, strict=True):
        assert (call.model, call.temperature) == ("tests@0", 1)
        assert call.token_ids is not None
        assert call.logprobs is not None
        assert len(call.token_ids) == len(call.logprobs) == answer["outputTokens"]
