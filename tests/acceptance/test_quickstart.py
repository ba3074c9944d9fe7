"""docs/quickstart.md, typed in from top to bottom by somebody whose database is only Babylon's."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import psycopg
import pytest
import redis
from acceptance.reader import Reader
from documents import ROOT, executed_by
from factories import action, exact_call, insert, llm_call, market_outcome, step, trajectory

from babylon_tasks.db.session import Connection
from babylon_tasks.sandbox.servers import EmbeddedPostgres, free_port
from babylon_tasks.tasks.app import KEY_PREFIX

SCHEMA = ROOT / "tests/integration/babylon_schema.sql"
Contents = dict[str, list[tuple[Any, ...]]]


@pytest.fixture
def babylon_database(empty_database_url: str, administrator: Connection) -> Iterator[str]:
    """Babylon's own tables, with an index, a view and rows that are nobody else's business."""
    with psycopg.connect(empty_database_url, autocommit=True) as connection:
        connection.execute(SCHEMA.read_text("utf-8"))
    yield empty_database_url
    administrator.execute(
        "SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE usename = 'babylon_tasks'"
    )
    with psycopg.connect(empty_database_url, autocommit=True) as connection:
        found = connection.execute("SELECT FROM pg_roles WHERE rolname = 'babylon_tasks'")
        if found.rowcount:  # left by a document that failed on the way
            connection.execute("DROP OWNED BY babylon_tasks CASCADE")
            connection.execute("DROP ROLE babylon_tasks")


def played(connection: Connection, model: str) -> None:
    """Ten hours of four agents on two markets each, and all that is wrong with a real database."""
    agents = [{"id": f"agent-{n}", "updatedAt": "2026-01-28"} for n in range(5)]
    insert(connection, "User", agents)
    for hour in range(10):
        window = f"2026-01-28T{hour:02d}:00"
        called = {"model": "another-house/large-model"} if hour == 8 else {"model": model}
        for market in ("m-1", "m-2"):
            for agent in range(4):
                answer, ids = ("YES", (35502, 2)) if agent % 2 else ("NO", (14320, 2))
                asked = {**called, "userPrompt": f"{window} {market}: will it rise?"}
                call = (
                    llm_call(answer, **asked)
                    if hour == 7
                    else exact_call(answer, token_ids=ids, **asked)
                )
                traded = action(market=market, side=answer)
                steps = [step(0, [call], window=window, action=traded)]
                profit = 100.0 * (agent - 1.5)
                row = trajectory(window, f"agent-{agent}", steps, scenario=market, final_pnl=profit)
                insert(connection, "trajectories", [row])
        outcomes = [market_outcome(market, "YES", window) for market in ("m-1", "m-2")]
        insert(connection, "market_outcomes", outcomes)
    broken = trajectory("2026-01-28T06:00", "agent-4", steps_json="[{")
    insert(connection, "trajectories", [broken])
    theirs = {"id": "theirs", "modelId": "theirs", "version": "v9", "baseModel": "large-model"}
    model_row = {**theirs, "storagePath": "s", "updatedAt": "2026-01-01"}
    insert(connection, "trained_models", [model_row])


def contents(connection: Connection) -> Contents:
    """Every row of Babylon's, as it was but for the time of its last change; every right on it."""
    tables = connection.execute(
        "SELECT table_name FROM information_schema.tables WHERE table_schema = 'public'"
    ).fetchall()
    found: Contents = {
        name: connection.execute(
            f"""SELECT to_jsonb(t) - 'updatedAt' FROM "{name}" t ORDER BY id"""  # noqa: S608
        ).fetchall()
        for (name,) in tables
    }
    found["namespaces"] = connection.execute(
        "SELECT nspname FROM pg_namespace ORDER BY 1"
    ).fetchall()
    found["roles"] = connection.execute("SELECT rolname FROM pg_roles ORDER BY 1").fetchall()
    found["rights"] = connection.execute(
        "SELECT relname, coalesce(relacl, acldefault('r', relowner))::text FROM pg_class"
        " WHERE relnamespace = 'public'::regnamespace ORDER BY 1"
    ).fetchall()
    return found


@pytest.mark.timeout(600)
def test_the_first_hour_goes_as_it_is_written_and_can_be_undone(
    babylon_database: str,
    redis_url: str,
    tiny_model: Path,
    tmp_path: Path,
    postgres: EmbeddedPostgres,
) -> None:
    parts = urlsplit(babylon_database)
    given = {
        "PGHOST": str(parts.hostname),
        "PGPORT": str(parts.port),
        "PGDATABASE": parts.path.strip("/"),
        "PGUSER": str(parts.username),
        "PGPASSWORD": str(parts.password),
        "REDIS_URL": redis_url,
        "BABYLON_BASE_MODEL": str(tiny_model),
        # This machine's part, nothing of which changes what happens.
        "BABYLON_BACKEND": "cpu",
        "BABYLON_UPKEEP_SECONDS": "1",
        "BABYLON_INFERENCE_PORT": str(free_port()),
        "BABYLON_FLOWER_PORT": str(free_port()),
        "OMP_NUM_THREADS": "1",
    }
    with psycopg.connect(babylon_database, autocommit=True) as connection:
        played(connection, str(tiny_model))
        before = contents(connection)
        with Reader(tmp_path, given, [postgres.program("psql").parent]) as reader:
            for block in executed_by(__file__):
                reader.follow(block)
        after = contents(connection)

    assert after == before
    with redis.Redis.from_url(redis_url) as client:
        assert list(client.scan_iter(f"{KEY_PREFIX}*")) == []
    assert not (tmp_path / ".babylon").exists()
