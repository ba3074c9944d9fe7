"""Everything works behind a transaction pooler, and nothing is lost."""

from __future__ import annotations

import threading
from collections.abc import Callable
from contextlib import ExitStack, closing

import psycopg
import pytest
from factories import WINDOW, fill_window
from pgbouncer import PgBouncer
from recordings import record
from scoring_runs import run as score
from scoring_runs import seal
from training_steps import peer, train

from babylon_tasks.cli import checks
from babylon_tasks.db.babylon import TABLES
from babylon_tasks.db.invariants import violations
from babylon_tasks.db.migrate import apply
from babylon_tasks.db.session import Connection, session
from babylon_tasks.db.trajectories import stream_window
from babylon_tasks.pipeline.reconcile import reconcile
from babylon_tasks.recorder import Recorder
from babylon_tasks.settings import Settings

pytestmark = pytest.mark.contract("today")
MakeSettings = Callable[..., Settings]


def test_the_schema_is_honoured_by_migrations_recorders_and_doctor(
    make_settings: MakeSettings, babylon_database_url: str, pooler: PgBouncer, redis_url: str
) -> None:
    """A schema that Postgres would fold, too."""
    with psycopg.connect(babylon_database_url, autocommit=True) as owner:
        owner.execute('CREATE SCHEMA "Game"')
        for table in TABLES:
            owner.execute(f'ALTER TABLE {table} SET SCHEMA "Game"')
    url = f"{pooler.before(babylon_database_url)}?pgbouncer=true&schema=Game"
    settings = make_settings(DATABASE_URL=url, REDIS_URL=redis_url)
    assert apply(settings)
    with Recorder(settings) as recorder:
        record(recorder, 1)

    found = {one.check: one for one in checks.postgres(settings)}

    assert {one.outcome for one in found.values()} <= {"ok", "warn"}
    assert found["session"].detail == 'UTC, search path "Game", through a pooler'
    with psycopg.connect(babylon_database_url) as direct:
        assert direct.execute("SELECT to_regclass('public.trajectories')").fetchone() == (None,)
        assert direct.execute('SELECT count(*) FROM "Game".trajectories').fetchone() == (1,)


def test_four_recorders_at_once_lose_nothing(pooled: Settings, connection: Connection) -> None:
    with ExitStack() as stack:
        recorders = [stack.enter_context(Recorder(pooled)) for _ in range(4)]
        threads = [threading.Thread(target=record, args=(one, 40)) for one in recorders]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        assert all(one.flush(60) for one in recorders)
    assert [(one.recorded, one.failed, one.dropped) for one in recorders] == [(40, 0, 0)] * 4
    assert connection.execute("SELECT count(*) FROM trajectories").fetchone() == (160,)


def test_a_window_is_scored_and_trained(pooled: Settings, connection: Connection) -> None:
    fill_window(connection, agents=4, spread=200)
    seal(connection)

    assert score(pooled).scored == 4
    outcome = train(pooled, peer(pooled), WINDOW)
    reconcile(pooled, actor="test")

    assert (outcome.action, outcome.step) == ("committed", 1)
    with session(pooled) as behind:
        assert violations(behind, pooled) == []


def test_a_window_that_is_not_read_to_its_end_frees_its_servers_session(
    make_settings: MakeSettings, pooled: Settings, connection: Connection
) -> None:
    fill_window(connection, agents=8)
    small = make_settings(read_batch=1)
    with session(pooled) as one:
        with closing(stream_window(one, WINDOW, small)) as batches:
            next(batches)
        assert one.info.transaction_status == psycopg.pq.TransactionStatus.IDLE
        assert one.execute("SELECT count(*) FROM trajectories").fetchone() == (8,)
