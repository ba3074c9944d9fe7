"""A scoring that ends sends for the next window, an upkeep that met its limit for itself."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from base64 import b64decode
from typing import Any

import pytest
import redis
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


def send_next(settings: Settings, times: int, **but: str) -> str:
    return run(settings, _SEND.format(times=times), **but)


def run(settings: Settings, script: str, **but: str) -> str:
    """Run as a worker does, in a process of its own: the application is the process's."""
    environment = {
        **os.environ,
        "DATABASE_URL": settings.database_url.get_secret_value(),
        "REDIS_URL": settings.redis_url.get_secret_value(),
        **but,
    }
    done = subprocess.run(
        [sys.executable, "-c", script],
        env=environment,
        check=True,
        timeout=60,
        capture_output=True,
        text=True,
    )
    return done.stdout + done.stderr


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
    send_next(settings, times=4)

    assert sent(settings) == [hour(2), hour(3)]


def test_nothing_is_sent_while_scoring_is_paused(waiting: Connection, settings: Settings) -> None:
    waiting.execute(
        "INSERT INTO training.circuits (name, faults, fault, reason, opened_at, next_try_at)"
        " VALUES ('scoring', 5, 'database', 'full', now(), now() + interval '1 hour')"
    )

    send_next(settings, times=1)

    assert sent(settings) == []
    assert column(waiting, "SELECT enqueued_at FROM training.windows") == [None] * 3


@pytest.mark.parametrize("away", ["REDIS_URL", "DATABASE_URL"])
def test_a_server_that_is_away_does_not_fail_the_scoring_that_has_ended(
    waiting: Connection, settings: Settings, away: str
) -> None:
    scheme = "redis" if away == "REDIS_URL" else "postgresql"

    logged = send_next(settings, times=1, **{away: f"{scheme}://127.0.0.1:{free_port()}/0"})

    assert "message.not_sent" in logged
    assert sent(settings) == []


_UPKEEP = """
from babylon_tasks.pipeline import discover as discovery, reconcile as repair
from babylon_tasks.tasks.upkeep import discover, reconcile
discovery.SEAL_LIMIT = repair.RELEASE_LIMIT = {limit}
discover.apply()
reconcile.apply()
"""


@pytest.mark.parametrize(("limit", "again"), [(1, ["discover", "reconcile"]), (10, [])])
def test_upkeep_that_met_its_limit_is_sent_again_at_once(
    waiting: Connection, settings: Settings, limit: int, again: list[str]
) -> None:
    waiting.execute(
        "UPDATE training.windows SET state = CASE window_id WHEN %s THEN 'scoring' ELSE 'open' END,"
        " attempt = 1, lease_until = now() - interval '1 hour', next_attempt_at = NULL",
        [hour(1)],
    )

    run(settings, _UPKEEP.format(limit=limit))

    with redis.Redis.from_url(settings.redis_url.get_secret_value()) as client:
        raw: Any = client.lrange(KEY_PREFIX + "upkeep", 0, -1)
    tasks = [json.loads(one)["headers"]["task"] for one in reversed(raw)]
    assert tasks == [f"babylon.{name}.v1" for name in again]
