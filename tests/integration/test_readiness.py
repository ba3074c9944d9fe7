"""A worker is not ready while its database takes no writes."""

from __future__ import annotations

import pytest

from babylon_tasks.db.kept_connections import kept
from babylon_tasks.db.session import Connection
from babylon_tasks.settings import Settings
from babylon_tasks.tasks.health.pool_children import PoolChildren
from babylon_tasks.tasks.health.readiness import WorkerReadiness

pytestmark = pytest.mark.contract("today")


def database(settings: Settings) -> str | None:
    """What a worker's check of Postgres says now."""
    _, check = WorkerReadiness(settings, frozenset({"cpu"}), PoolChildren()).checks()
    return check.answer()


def test_a_server_that_takes_no_writes_is_not_enough(
    connection: Connection, settings: Settings
) -> None:
    assert database(settings) is None
    name = connection.info.dbname
    connection.execute(
        f"ALTER DATABASE {name} SET default_transaction_read_only = on"  # type: ignore[arg-type]
    )
    kept.close()  # a failover ends the sessions, too

    assert "Postgres takes no writes" in str(database(settings))
