"""The recorder in TypeScript behind a transaction pooler: it prepares no statement."""

from __future__ import annotations

from collections.abc import Callable

import pytest
from node import run_json
from pgbouncer import PgBouncer

from babylon_tasks.db.session import connect
from babylon_tasks.settings import Settings

pytestmark = pytest.mark.contract("today")

NOW = "2026-01-31T09:00:00Z"
COUNT = 250


@pytest.mark.parametrize("parameters", ["?pgbouncer=true", ""])
def test_it_writes_over_a_pooler_whether_or_not_the_address_says_so(
    pooler: PgBouncer,
    database_url: str,
    make_settings: Callable[..., Settings],
    parameters: str,
) -> None:
    played = {
        "agent": "agent-1",
        "start": {"now": NOW},
        "steps": [{"world": {"now": NOW}, "calls": [], "actions": []}],
        "finish": {"now": NOW},
    }
    said = run_json(
        "test/play.ts",
        given={"trajectories": [played] * COUNT, "moments": [], "windows": []},
        DATABASE_URL=f"{pooler.before(database_url)}{parameters}",
    )
    assert said["counts"] == {"recorded": COUNT, "dropped": 0, "failed": 0}
    with connect(make_settings()) as connection:
        assert connection.execute("SELECT count(*) FROM trajectories").fetchone() == (COUNT,)
