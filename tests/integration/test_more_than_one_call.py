"""More is to be done than the limits of one call allow: the next call follows at once."""

from __future__ import annotations

import json
from collections.abc import Callable
from typing import Any

import pytest
import redis
from factories import EVER, fill_window
from own_process import run
from scored_windows import column, hour

from babylon_tasks.db.session import Connection
from babylon_tasks.pipeline import discover as discovery
from babylon_tasks.pipeline import reconcile as repair
from babylon_tasks.settings import Settings
from babylon_tasks.tasks.app import KEY_PREFIX

_UPKEEP = """
from babylon_tasks.pipeline import discover as discovery, reconcile as repair
from babylon_tasks.tasks.upkeep import discover, reconcile
discovery.SEAL_LIMIT = repair.RELEASE_LIMIT = {limit}
discover.apply(throw=True)
reconcile.apply(throw=True)
"""
HOURS = [hour(number) for number in range(5)]


def lose_claims(connection: Connection, hours: list[str]) -> None:
    """Windows whose scorers are gone."""
    connection.execute(
        """
        INSERT INTO training.windows (window_id, starts_at, held_out, state, attempt, lease_owner,
                                      lease_until, sealed_at)
        SELECT id, (id || ':00+00')::timestamptz, false, 'scoring', 1, 'gone',
               now() - interval '1 hour', now()
        FROM unnest(%s::text[]) AS id
        """,
        [hours],
    )


def test_hours_beyond_the_limit_are_looked_at_and_sealed_without_another_period(
    connection: Connection, make_settings: Callable[..., Settings], monkeypatch: pytest.MonkeyPatch
) -> None:
    settings = make_settings(held_out_share=0, lookback_hours=int(EVER), grace_seconds=300)
    monkeypatch.setattr(discovery, "SEAL_LIMIT", 2)
    for window in HOURS:
        fill_window(connection, window, agents=1)

    looks = [discovery.discover(settings, actor="test") for _ in range(3)]

    assert [(look.sealed, look.more) for look in looks] == [([], True), ([], True), ([], False)]
    assert None not in column(connection, "SELECT rows_changed_at FROM training.windows")

    connection.execute(
        "UPDATE training.windows SET rows_changed_at = rows_changed_at - interval '300 s'"
    )
    looks = [discovery.discover(settings, actor="test") for _ in range(3)]

    assert [look.more for look in looks] == [True, True, False]
    assert [look.sealed for look in looks] == [HOURS[:2], HOURS[2:4], HOURS[4:]]


def test_an_hour_whose_rows_still_change_keeps_no_other_open_and_asks_for_no_call(
    connection: Connection, make_settings: Callable[..., Settings], monkeypatch: pytest.MonkeyPatch
) -> None:
    settings = make_settings(held_out_share=0, lookback_hours=int(EVER), grace_seconds=300)
    for window in HOURS[:2]:
        fill_window(connection, window, agents=1)
    discovery.discover(settings, actor="test")
    connection.execute(
        "UPDATE training.windows SET rows_changed_at = rows_changed_at - interval '300 s'"
    )
    fill_window(connection, HOURS[0], agents=2)
    monkeypatch.setattr(discovery, "SEAL_LIMIT", 1)

    looks = [discovery.discover(settings, actor="test") for _ in range(2)]

    assert [(look.sealed, look.more) for look in looks] == [([], True), ([HOURS[1]], False)]


def test_lost_claims_beyond_the_limit_are_released_without_another_period(
    connection: Connection, make_settings: Callable[..., Settings], monkeypatch: pytest.MonkeyPatch
) -> None:
    settings = make_settings(lease_seconds=2)  # owners have an eighth of it to come back
    monkeypatch.setattr(repair, "RELEASE_LIMIT", 2)
    lose_claims(connection, HOURS[:3])

    rounds = [repair.reconcile(settings, actor="test") for _ in range(2)]

    assert [(one.released, one.more) for one in rounds] == [(HOURS[:2], True), ([HOURS[2]], False)]


@pytest.mark.parametrize(("limit", "again"), [(1, ["discover", "reconcile"]), (10, [])])
def test_a_task_of_upkeep_that_met_its_limit_sends_for_itself(
    connection: Connection, settings: Settings, limit: int, again: list[str]
) -> None:
    lose_claims(connection, HOURS[:2])
    for window in HOURS[2:]:
        fill_window(connection, window, agents=1)

    given = {"BABYLON_LOOKBACK_HOURS": str(int(EVER)), "BABYLON_LEASE_SECONDS": "2"}
    run(_UPKEEP.format(limit=limit), settings, **given)

    with redis.Redis.from_url(settings.redis_url.get_secret_value()) as client:
        raw: Any = client.lrange(KEY_PREFIX + "upkeep", 0, -1)
    tasks = [json.loads(one)["headers"]["task"] for one in reversed(raw)]
    assert tasks == [f"babylon.{name}.v1" for name in again]
    opened = "SELECT rows_changed_at IS NULL FROM training.windows WHERE state = 'open' ORDER BY 1"
    assert column(connection, opened) == [False, limit == 1, limit == 1]
