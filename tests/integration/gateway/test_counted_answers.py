"""Each call of a known client is counted with the status that it got, however it got it."""

from __future__ import annotations

import json
import socket
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from contextlib import AbstractContextManager
from pathlib import Path
from typing import Any

import httpx
import pytest
from endpoint import PATIENCE, until
from gateways import KEY, Played, opened
from prometheus_client import REGISTRY

from babylon_tasks.db.session import Connection
from babylon_tasks.settings import Settings

pytestmark = pytest.mark.contract(None)

ASKED: dict[str, Any] = {"model": "tests", "messages": [{"role": "user", "content": "?"}]}
Play = Callable[..., AbstractContextManager[Played]]


def counted(served_by: str, status: int) -> float:
    name = "babylon_gateway_duration_seconds_count"
    labels = {"served_by": served_by, "arm": "none", "code": str(status)}
    return REGISTRY.get_sample_value(name, labels) or 0.0


def total() -> float:
    return sum(
        sample.value
        for family in REGISTRY.collect()
        for sample in family.samples
        if sample.name == "babylon_gateway_duration_seconds_count"
    )


def post(url: str, **values: Any) -> httpx.Response:
    values = {"path": "/chat/completions", "key": KEY, "json": ASKED, **values}
    headers = {"Authorization": f"Bearer {values.pop('key')}", **values.pop("headers", {})}
    return httpx.post(url + values.pop("path"), headers=headers, timeout=PATIENCE, **values)


@pytest.mark.parametrize("stream", [False, True])
def test_an_error_of_another_server_is_counted_as_its_own(played: Play, stream: bool) -> None:
    with played() as made:
        for status in (429, 500, 503, 529):
            made.other.status = status
            errors, answers = counted("other", status), counted("other", 200)
            assert made.ask("m", stream=stream).status_code == status
            until(lambda: counted("other", status) == errors + 1)  # noqa: B023
            assert counted("other", 200) == answers


def test_what_is_beyond_the_bound_is_counted(played: Play) -> None:
    with played(gateway_max_requests=1) as made, ThreadPoolExecutor() as agents:
        made.other.seconds = 2
        refused, answers = counted("none", 429), counted("other", 200)
        asked = [agents.submit(made.ask, "m") for _ in range(2)]
        assert sorted(one.result().status_code for one in asked) == [200, 429]
        until(lambda: counted("none", 429) == refused + 1)
        until(lambda: counted("other", 200) == answers + 1)


@pytest.mark.parametrize(
    ("sent", "status"),
    [
        ({"content": b"{", "json": None}, 400),
        ({"content": b" " * (8 * 2**20 + 1), "json": None}, 413),
        ({"headers": {"X-Babylon-Agent": "x" * 201}}, 400),
        ({"json": {**ASKED, "model": "unknown"}}, 404),
    ],
    ids=["no JSON", "too large", "no name of an agent", "no model"],
)
def test_what_is_refused_before_anybody_is_asked_is_counted(
    played: Play, sent: dict[str, Any], status: int
) -> None:
    with played() as made:
        before = counted("none", status)
        assert post(made.url, **sent).status_code == status
        until(lambda: counted("none", status) == before + 1)


@pytest.mark.parametrize(
    "sent", [{"key": "wrong"}, {"path": "/responses"}, {"path": "/embeddings"}], ids=str
)
def test_what_is_no_call_of_a_client_is_not(played: Play, sent: dict[str, Any]) -> None:
    with played() as made:
        before = total()
        assert post(made.url, **sent).is_client_error
        assert httpx.get(
            f"{made.url}/models", headers={"Authorization": f"Bearer {KEY}"}
        ).is_success
        assert total() == before


def test_a_stream_that_ends_with_an_error_is_counted_as_that(
    make_settings: Callable[..., Settings],
    connection: Connection,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr("babylon_tasks.gateway.chat.QUIET_SECONDS", 0.1)
    errors, answers = counted("none", 503), counted("none", 200)
    with socket.create_server(("127.0.0.1", 0)) as silent:  # takes connections, answers nothing
        trainer = f"http://127.0.0.1:{silent.getsockname()[1]}/v1"
        limit = {"gateway_timeout_seconds": 1}
        with opened(make_settings, connection, trainer, tmp_path, **limit) as url:
            reply = post(url, json={**ASKED, "stream": True})
    assert reply.status_code == 200, "it had begun"
    *_, last = reply.text.strip().splitlines()
    assert json.loads(last.removeprefix("data: "))["error"]["type"] == "server_error"
    assert (counted("none", 503), counted("none", 200)) == (errors + 1, answers)
