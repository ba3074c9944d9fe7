"""A trainer that takes requests and does not answer: agents get the fallback, and soon at once."""

from __future__ import annotations

import json
import socket
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import httpx
import pytest
from endpoint import PATIENCE
from gateways import KEY, opened
from upstream import Upstream

from babylon_tasks.db.session import Connection
from babylon_tasks.gateway.breaker import FAILURES
from babylon_tasks.settings import Settings

pytestmark = pytest.mark.contract(None)

ASKED: dict[str, Any] = {"model": "tests", "messages": [{"role": "user", "content": "?"}]}
Open = Callable[..., Any]


@pytest.fixture
def before_a_silent_trainer(
    make_settings: Callable[..., Settings], connection: Connection, tmp_path: Path
) -> Open:
    """``before_a_silent_trainer(...)``: the address of a gateway that has a fallback."""

    @contextmanager
    def open_one(**values: Any) -> Iterator[str]:
        with Upstream() as other, socket.create_server(("127.0.0.1", 0)) as silent:
            trainer = f"http://127.0.0.1:{silent.getsockname()[1]}/v1"
            servers = {"other": {"base_url": other.url, "models": ["m"]}}
            values |= {"gateway_upstreams": servers, "gateway_fallback": "other/m"}
            with opened(make_settings, connection, trainer, tmp_path, **values) as url:
                yield url

    return open_one


def fallback(url: str, seconds: float) -> str | None:
    """Why the fallback answered; None where no answer came for so long."""
    try:
        reply = httpx.post(
            f"{url}/chat/completions",
            json=ASKED,
            headers={"Authorization": f"Bearer {KEY}"},
            timeout=seconds,
        )
    except httpx.ReadTimeout:
        return None
    return reply.headers["x-babylon-fallback"]


def test_an_agent_gets_the_fallback_once_the_trainers_time_is_over(
    before_a_silent_trainer: Open,
) -> None:
    # The gateway's own limit is one that no agent would wait for.
    limits = {"gateway_trainer_seconds": 0.2, "gateway_timeout_seconds": 100 * PATIENCE}
    with before_a_silent_trainer(**limits) as url:
        assert fallback(url, PATIENCE) == "timeout"


def test_agents_that_give_up_sooner_bring_the_others_the_fallback_at_once(
    before_a_silent_trainer: Open, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("babylon_tasks.gateway.breaker.SILENT_SECONDS", 0.1)
    with before_a_silent_trainer() as url:
        # The last one may leave just when the next one asks.
        found = [fallback(url, 0.5) for _ in range(FAILURES + 1)]
        assert found[:FAILURES] == [None] * FAILURES
        assert fallback(url, PATIENCE) == "paused"


def test_a_stream_that_waits_for_too_long_ends_with_an_error(
    before_a_silent_trainer: Open, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("babylon_tasks.gateway.chat.QUIET_SECONDS", 0.05)
    with before_a_silent_trainer(gateway_timeout_seconds=0.5) as url:
        reply = httpx.post(
            f"{url}/chat/completions",
            json={**ASKED, "model": "tests@0", "stream": True},
            headers={"Authorization": f"Bearer {KEY}"},
            timeout=PATIENCE,
        )
    *_, last = reply.text.strip().splitlines()
    assert json.loads(last.removeprefix("data: "))["error"]["type"] == "server_error"
