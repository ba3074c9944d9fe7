"""Captured calls in Postgres: each written once, kept by days."""

from __future__ import annotations

from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
from captured_calls import captured_call
from structlog.testing import capture_logs

from babylon_tasks.db import calls, clock
from babylon_tasks.db.session import Connection
from babylon_tasks.pipeline.prune_rows import prune_rows
from babylon_tasks.settings import Settings

pytestmark = pytest.mark.contract(None)
KEPT = 14 * 24.0


def stored(connection: Connection) -> list[Any]:
    return [row[0] for row in connection.execute("SELECT capture_id FROM training.calls")]


def partitions(connection: Connection) -> list[str]:
    found = connection.execute(
        "SELECT relname FROM pg_class WHERE relname ~ '^calls_[0-9]{8}$' AND relkind = 'r'"
    )
    return sorted(row[0] for row in found)


def test_a_flush_that_is_repeated_writes_nothing_twice(connection: Connection) -> None:
    some = [captured_call(asked_at=clock.now(connection)) for _ in range(3)]
    assert calls.insert(connection, some[:2], KEPT) == (2, 0)
    assert calls.insert(connection, some, KEPT) == (1, 0)
    assert sorted(stored(connection)) == sorted(one.capture_id for one in some)


def test_what_postgres_never_takes_keeps_nothing_else_waiting(connection: Connection) -> None:
    now = clock.now(connection)
    good = [captured_call(asked_at=now) for _ in range(5)]
    bad = [
        captured_call(asked_at=now, step=2**40),
        captured_call(asked_at=now, agent="a\0b"),
        captured_call(asked_at=now - timedelta(days=40)),
        captured_call(asked_at=now + timedelta(days=40)),
        captured_call(asked_at=datetime(9999, 1, 1, tzinfo=UTC)),
    ]
    mixed = [one for pair in zip(good, bad, strict=True) for one in pair]
    with capture_logs() as logged:
        assert calls.insert(connection, mixed, KEPT) == (len(good), len(bad))
    assert sorted(stored(connection)) == sorted(one.capture_id for one in good)
    [why] = [one["why"] for one in logged if one["event"] == "captures.refused"]
    assert sorted(why.values()) == [1, 1, 3]
    assert "integer out of range" in why
    assert any("NUL" in one for one in why)
    assert any("by a wrong clock: one was asked at" in one for one in why)


@pytest.mark.contract("today")  # rows are pruned beside Babylon's
def test_days_are_made_ahead_and_old_ones_dropped_whole(
    connection: Connection, make_settings: Callable[..., Settings]
) -> None:
    settings = make_settings(keep_calls_days=14, max_staleness_hours=24, outcome_wait_hours=0)
    now = clock.now(connection)
    old, kept = (captured_call(asked_at=now - timedelta(days=days)) for days in (15, 13))
    assert calls.insert(connection, [old, kept], 30 * 24) == (2, 0)
    dropped = prune_rows(settings, actor="test").call_days
    assert stored(connection) == [kept.capture_id]
    assert dropped == 1
    days = partitions(connection)
    assert days[-1] == f"calls_{now + timedelta(days=calls.DAYS_AHEAD):%Y%m%d}"
    assert prune_rows(settings, actor="test").call_days == 0
    assert partitions(connection) == days


def test_calls_are_kept_as_long_as_an_hour_may_wait_for_its_step(
    make_settings: Callable[..., Settings],
) -> None:
    settings = make_settings(keep_calls_days=1, max_staleness_hours=240, outcome_wait_hours=1)
    assert settings.calls_kept_hours == 240
