"""Answers of other servers are captured as they were passed on: who gave them, and no ids."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import httpx
import pytest
from endpoint import PATIENCE, until
from gateways import KEY, opened
from prometheus_client import REGISTRY
from upstream import Upstream

from babylon_tasks.dataset.text_hashes import text_hashes
from babylon_tasks.db.session import Connection
from babylon_tasks.gateway import pass_on
from babylon_tasks.settings import Settings

pytestmark = pytest.mark.contract(None)

USER = "Will ACME close higher?"
ASKED: dict[str, Any] = {"messages": [{"role": "user", "content": USER}], "temperature": 0.7}
NOBODY = "http://127.0.0.1:9/v1"  # a trainer that is away
FOUND = (
    "SELECT agent, arm, lineage, step, server, model, answer_hash, token_ids, completion_tokens"
    " FROM training.calls ORDER BY asked_at"
)

Ask = Callable[..., bytes]


@pytest.fixture
def other() -> Iterator[Upstream]:
    with Upstream() as made:
        made.says("buy")
        yield made


@pytest.fixture
def ask(
    make_settings: Callable[..., Settings], connection: Connection, tmp_path: Path, other: Upstream
) -> Iterator[Ask]:
    """``ask("m")``: what agent-7 gets of a model; ``m`` is another server's, and the fallback."""
    settings = {
        "gateway_upstreams": {"other": {"base_url": other.url, "models": ["m"]}},
        "gateway_fallback": "other/m",
    }
    with opened(make_settings, connection, NOBODY, tmp_path, **settings) as url:

        def asked(model: str, **fields: Any) -> bytes:
            reply = httpx.post(
                f"{url}/chat/completions",
                json={"model": model, **ASKED, **fields},
                headers={"Authorization": f"Bearer {KEY}", "X-Babylon-Agent": "agent-7"},
                timeout=PATIENCE,
            )
            return reply.content

        yield asked


def lost(state: str) -> float:
    return REGISTRY.get_sample_value("babylon_gateway_captures_total", {"state": state}) or 0.0


def hashed(text: str) -> bytes:
    return text_hashes([("user", USER)], text).answer


def test_a_whole_answer_and_a_stream_are_captured(
    ask: Ask, other: Upstream, connection: Connection
) -> None:
    assert ask("m") == other.content
    other.kind = "text/event-stream"
    parts = [{"choices": [{"index": 0, "delta": {"content": one}}]} for one in ("ho", "ld")]
    events = [*parts, {"choices": [], "usage": {"completion_tokens": 2}}]
    other.content = b"".join(b"data: %b\n\n" % json.dumps(one).encode() for one in events)
    assert ask("m", stream=True) == other.content

    until(lambda: connection.execute(FOUND).rowcount == 2)
    who = ("agent-7", None, "tests", None, "other", "m")
    assert connection.execute(FOUND).fetchall() == [
        (*who, hashed("buy"), None, None),
        (*who, hashed("hold"), None, 2),
    ]


def test_the_fallbacks_answers_are_captured_and_no_error_is(
    ask: Ask, other: Upstream, connection: Connection
) -> None:
    other.status = 429
    ask("tests")
    other.status = 200
    ask("tests")
    until(lambda: connection.execute(FOUND).rowcount == 1)
    [row] = connection.execute(FOUND).fetchall()
    assert row[:6] == ("agent-7", None, "tests", None, "other", "m")


def test_an_answer_that_is_too_large_or_cannot_be_read_is_passed_on_and_counted(
    ask: Ask, other: Upstream, monkeypatch: pytest.MonkeyPatch
) -> None:
    other.content = b"\x1f\x8b"
    before = lost("unreadable")
    assert ask("m") == other.content
    until(lambda: lost("unreadable") == before + 1)

    monkeypatch.setattr(pass_on, "_KEPT_BYTES", 10)
    other.content, before = b"x" * 11, lost("too_large")
    assert ask("m") == other.content
    until(lambda: lost("too_large") == before + 1)
