"""What the gateway keeps of an answer: how it was sampled, exactly, and no text."""

from __future__ import annotations

import hashlib
import json
from array import array
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from typing import Any

import pytest
from endpoint import KEY, Endpoint, until
from openai import OpenAI

from babylon_tasks.db import lineages
from babylon_tasks.db.session import Connection
from babylon_tasks.gateway.process import Gateway
from babylon_tasks.settings import Settings
from babylon_tasks.windows import window_id

pytestmark = pytest.mark.contract(None)

MakeSettings = Callable[..., Settings]
SYSTEM, USER = "You trade.", "Will ACME close higher? 🚀"
MESSAGES: list[Any] = [
    {"role": "system", "content": SYSTEM},
    {"role": "user", "content": [{"type": "text", "text": USER}]},
]


def rows(connection: Connection) -> list[dict[str, Any]]:
    cursor = connection.execute("SELECT * FROM training.calls ORDER BY asked_at")
    names = [column.name for column in cursor.description or ()]
    return [dict(zip(names, row, strict=True)) for row in cursor]


def sha256(text: str) -> bytes:
    return hashlib.sha256(text.encode()).digest()


@pytest.fixture
def gateway(
    serve: Callable[..., Endpoint], make_settings: MakeSettings, connection: Connection
) -> Iterator[Callable[..., Gateway]]:
    """``gateway(...)``: a gateway before a real endpoint, which serves step 0 of ``tests``."""
    with ExitStack() as stack:

        def opened(**values: Any) -> Gateway:
            settings = make_settings(lineage="tests", gateway_port=0, inference_api_key=KEY)
            lineages.ensure(connection, settings)
            lineages.announce(connection, "tests", backend="cpu", base_url=f"{serve().url}/v1")
            made = Gateway(settings.model_copy(update=values))
            made.start()
            stack.callback(made.stop)
            return made

        yield opened


def agent(gateway: Gateway, **options: Any) -> OpenAI:
    url = f"http://127.0.0.1:{gateway.port}/v1"
    return OpenAI(base_url=url, api_key=KEY, max_retries=0, **options)


def test_an_answer_is_kept_as_it_was_sampled(
    gateway: Callable[..., Gateway], connection: Connection
) -> None:
    made = gateway()
    with agent(made, default_headers={"X-Babylon-Agent": "agent-7"}) as client:
        answer = client.chat.completions.create(
            model="tests",
            messages=MESSAGES,
            max_tokens=6,
            temperature=0.5,
            logprobs=True,
            extra_body={"return_token_ids": True},
        )
    until(lambda: len(rows(connection)) == 1)
    [row] = rows(connection)
    choice = answer.choices[0]
    assert answer.id == f"chatcmpl-{row['capture_id'].hex}"
    assert (row["lineage"], row["step"], row["arm"]) == ("tests", 0, None)
    assert (row["agent"], row["agent_source"], row["client"]) == ("agent-7", "header", "agents")
    assert row["window_id"] == window_id(row["asked_at"])
    assert row["sample_state"] == "complete"
    assert list(array("i", row["token_ids"])) == choice.to_dict()["token_ids"]
    assert choice.logprobs is not None
    assert choice.logprobs.content is not None
    assert list(array("f", row["logprobs"])) == pytest.approx(
        [one.logprob for one in choice.logprobs.content], rel=1e-6
    )
    assert row["system_hash"] == sha256(SYSTEM)
    assert row["user_hash"] == sha256(USER)
    assert row["answer_hash"] == sha256(choice.message.content or "")
    assert row["sampling"] == {
        "temperature": 0.5,
        "top_p": 1,
        "max_tokens": 6,
        "others": ["logprobs", "model", "return_token_ids"],
    }
    assert answer.usage is not None
    assert row["prompt_tokens"] == answer.usage.prompt_tokens
    assert row["completion_tokens"] == answer.usage.completion_tokens == len(row["token_ids"]) / 4
    assert row["finish_reason"] == choice.finish_reason
    assert row["trajectory_id"] is None
    for text in (SYSTEM, USER):
        assert text not in json.dumps(row, default=str)


def test_the_temperature_of_the_setting_is_asked_for_and_kept(
    gateway: Callable[..., Gateway], connection: Connection
) -> None:
    made = gateway(gateway_temperature=1.0)
    with agent(made) as client:
        for logprobs in (False, True):
            client.chat.completions.create(
                model="tests", messages=MESSAGES, max_tokens=4, temperature=0.7, logprobs=logprobs
            )
    until(lambda: len(rows(connection)) == 2)
    # Who asks for log-probabilities records for itself how it was sampled.
    assert [row["sampling"]["temperature"] for row in rows(connection)] == [1, 0.7]


def test_the_budget_that_the_server_took_is_kept(
    gateway: Callable[..., Gateway], connection: Connection
) -> None:
    made = gateway()
    with agent(made) as client:
        for _ in range(2):  # the second is asked within what the first was refused for
            client.chat.completions.create(
                model="tests", messages=MESSAGES, max_tokens=8192, stop=list("aeinorst")
            )
    until(lambda: len(rows(connection)) == 2)
    assert [row["sampling"]["max_tokens"] for row in rows(connection)] == [1024, 1024]


def test_streams_and_several_answers_are_kept_too(
    gateway: Callable[..., Gateway], connection: Connection
) -> None:
    made = gateway()
    with agent(made) as client:
        asked: dict[str, Any] = {"model": "tests@0", "messages": MESSAGES[1:], "max_tokens": 4}
        with client.chat.completions.create(**asked, stream=True) as stream:
            text = "".join(one.choices[0].delta.content or "" for one in stream)
        client.chat.completions.create(**asked, n=2)
    until(lambda: len(rows(connection)) == 2)
    streamed, several = rows(connection)
    assert streamed["answer_hash"] == sha256(text)
    assert streamed["system_hash"] == sha256("")
    assert (streamed["agent"], streamed["agent_source"]) == (None, "none")
    assert (several["sample_state"], several["token_ids"]) == ("several", None)
