"""A scoring that ends sends a message for the next window that is due."""

from __future__ import annotations

import json
from base64 import b64decode
from typing import Any

import pytest
import redis
from own_process import run
from scored_windows import column, hour

from babylon_tasks.db.session import Connection
from babylon_tasks.sandbox.servers import free_port
from babylon_tasks.settings import Settings
from babylon_tasks.tasks.app import KEY_PREFIX

pytestmark = pytest.mark.contract(None)
_SEND = """
from babylon_tasks.settings import load_settings
from babylon_tasks.tasks.send import send_next
for _ in range({times}):
    send_next(load_settings())
"""


def sent(settings: Settings) -> list[str]:
    with redis.Redis.from_url(settings.redis_url.get_secret_value()) as client:
        raw: Any = client.lrange(KEY_PREFIX + "cpu", 0, -1)
    return [json.loads(b64decode(json.loads(one)["body"]))[0][0] for one in reversed(raw)]


@pytest.fixture
def waiting(connection: Connection) -> Connection:
    """Three sealed windows without a message, the oldest of which is postponed."""
    connection.execute(
        """
        INSERT INTO training.windows (window_id, starts_at, held_out, state, next_attempt_at)
        SELECT id, (id || ':00+00')::timestamptz, false, 'sealed', later
        FROM unnest(%s::text[], ARRAY[now() + interval '1 hour', NULL, NULL]) AS w (id, later)
        """,
        [[hour(1), hour(2), hour(3)]],
    )
    return connection


def test_the_oldest_that_may_be_scored_is_sent_and_none_twice(
    waiting: Connection, settings: Settings
) -> None:
    run(_SEND.format(times=4), settings)

    assert sent(settings) == [hour(2), hour(3)]


def test_nothing_is_sent_while_scoring_is_paused(waiting: Connection, settings: Settings) -> None:
    waiting.execute(
        "INSERT INTO training.circuits (name, faults, fault, reason, opened_at, next_try_at)"
        " VALUES ('scoring', 5, 'database', 'full', now(), now() + interval '1 hour')"
    )

    run(_SEND.format(times=1), settings)

    assert sent(settings) == []
    assert column(waiting, "SELECT enqueued_at FROM training.windows") == [None] * 3


@pytest.mark.parametrize("away", ["REDIS_URL", "DATABASE_URL"])
def test_a_server_that_is_away_does_not_fail_the_scoring_that_has_ended(
    waiting: Connection, settings: Settings, away: str
) -> None:
    scheme = "redis" if away == "REDIS_URL" else "postgresql"

    logged = run(_SEND.format(times=1), settings, **{away: f"{scheme}://127.0.0.1:{free_port()}/0"})

    assert "message.not_sent" in logged
    assert sent(settings) == []
