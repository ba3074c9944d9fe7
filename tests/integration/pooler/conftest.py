"""PgBouncer in transaction mode before the tests' Postgres, and settings that go through it."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from pgbouncer import PgBouncer

from babylon_tasks.db.kept_connections import kept
from babylon_tasks.sandbox.servers import EmbeddedPostgres
from babylon_tasks.settings import Settings


@pytest.fixture(scope="package")
def pooler(servers_dir: Path, postgres: EmbeddedPostgres) -> Iterator[PgBouncer]:
    """Two server sessions for each database, whatever the number of clients."""
    with PgBouncer(servers_dir / "pgbouncer", postgres, pool_size=2) as server:
        yield server


@pytest.fixture
def pooled_url(database_url: str, pooler: PgBouncer) -> Iterator[str]:
    yield f"{pooler.before(database_url)}?pgbouncer=true"
    kept.close()


@pytest.fixture
def pooled(make_settings: Callable[..., Settings], pooled_url: str, redis_url: str) -> Settings:
    return make_settings(DATABASE_URL=pooled_url, REDIS_URL=redis_url)
