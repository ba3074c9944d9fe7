"""What the gateway counts as its own share of the time for an answer, by a clock of the test's."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from endpoint import PATIENCE, until
from gateways import KEY, opened
from openai import OpenAI
from prometheus_client import REGISTRY
from upstream import Upstream

from babylon_tasks.db.session import Connection
from babylon_tasks.gateway import app, chat, wait
from babylon_tasks.gateway.answer_json import decoded
from babylon_tasks.gateway.clients import ClientKeys
from babylon_tasks.gateway.request import GatewayRequest
from babylon_tasks.gateway.stream import EventStream
from babylon_tasks.gateway.trainer_body import trainer_body
from babylon_tasks.http_server.body import Body
from babylon_tasks.settings import Settings

pytestmark = pytest.mark.contract(None)

QUESTION = "Will ACME close higher?"
SERVER, CLIENT = 1000, 10_000  # seconds that others take
KEY_READ, JSON_READ, BODY_WRITTEN, ANSWER_READ, PASSED_ON = 1, 2, 4, 8, 16


class Clock:
    """It stands still while nobody moves it."""

    def __init__(self) -> None:
        self.now = 0.0

    def monotonic(self) -> float:
        return self.now

    def moved(self, seconds: float, work: Callable[..., Any]) -> Callable[..., Any]:
        """The same work, which takes so long."""

        def slow(*args: Any, **fields: Any) -> Any:
            self.now += seconds
            return work(*args, **fields)

        return slow


class SlowServer(Upstream):
    """It takes its time for what an agent asks, none for the gateway's probe."""

    clock: Clock

    def answer(self, body: bytes) -> tuple[int, bytes]:
        if QUESTION.encode() in body:
            self.clock.now += SERVER
        return super().answer(body)


@pytest.fixture
def clock(monkeypatch: pytest.MonkeyPatch) -> Clock:
    made = Clock()
    for module in (app, wait):
        monkeypatch.setattr(module, "time", made)
    monkeypatch.setattr(Body, "read", made.moved(CLIENT, Body.read))
    return made


@pytest.fixture
def client(
    make_settings: Callable[..., Settings], connection: Connection, tmp_path: Path, clock: Clock
) -> Iterator[OpenAI]:
    with SlowServer() as server:
        server.clock = clock
        server.says("buy")
        servers = {"other": {"base_url": server.url, "models": ["m"]}}
        with (
            opened(
                make_settings, connection, server.url, tmp_path, gateway_upstreams=servers
            ) as url,
            OpenAI(base_url=url, api_key=KEY, max_retries=0, timeout=PATIENCE) as made,
        ):
            yield made


def value(name: str) -> float:
    return REGISTRY.get_sample_value(f"babylon_gateway_own_seconds_{name}") or 0.0


def own_share(client: OpenAI, model: str) -> float:
    """What is counted of one call."""
    count, before = value("count"), value("sum")
    messages: list[Any] = [{"role": "user", "content": QUESTION}]
    client.chat.completions.create(model=model, messages=messages)
    until(lambda: value("count") == count + 1)
    return value("sum") - before


def test_before_a_checkpoint_it_is_all_but_the_waits_for_the_client_and_the_server(
    client: OpenAI, clock: Clock, monkeypatch: pytest.MonkeyPatch
) -> None:
    assert own_share(client, "tests") == 0
    monkeypatch.setattr(ClientKeys, "client", clock.moved(KEY_READ, ClientKeys.client))
    monkeypatch.setattr(app, "GatewayRequest", clock.moved(JSON_READ, GatewayRequest))
    monkeypatch.setattr(chat, "trainer_body", clock.moved(BODY_WRITTEN, trainer_body))
    monkeypatch.setattr(chat, "decoded", clock.moved(ANSWER_READ, decoded))
    assert own_share(client, "tests") == KEY_READ + JSON_READ + BODY_WRITTEN + ANSWER_READ


def test_before_another_server_what_is_passed_on_counts(
    client: OpenAI, clock: Clock, monkeypatch: pytest.MonkeyPatch
) -> None:
    assert own_share(client, "m") == 0
    monkeypatch.setattr(EventStream, "write", clock.moved(PASSED_ON, EventStream.write))
    assert own_share(client, "m") == PASSED_ON
