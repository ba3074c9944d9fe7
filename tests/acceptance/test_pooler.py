"""The whole loop behind a transaction pooler, PgBouncer with few server connections."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from acceptance.harness import Babylon, hours
from acceptance.outcome import assert_trained_once
from pgbouncer import PgBouncer

from babylon_tasks.sandbox.servers import EmbeddedPostgres


@pytest.fixture
def pooler(servers_dir: Path, postgres: EmbeddedPostgres) -> Iterator[PgBouncer]:
    with PgBouncer(servers_dir / "pgbouncer", postgres, pool_size=6) as server:
        yield server


def test_recorded_windows_are_trained_once_each_behind_a_pooler(
    pooler: PgBouncer, database_url: str, make_babylon: Callable[..., Babylon]
) -> None:
    babylon = make_babylon(database=f"{pooler.before(database_url)}?pgbouncer=true")
    windows = hours(3)
    for window in windows:
        babylon.record(window)

    babylon.start("gpu-worker", "cpu-worker", "beat")
    babylon.await_states(windows, "trained")

    assert_trained_once(babylon, windows, tries=1)
    for process in ("gpu-worker", "cpu-worker", "beat"):
        assert '"level": "error"' not in babylon.log(process)
