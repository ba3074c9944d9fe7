"""Migrations: Babylon's tables stay Babylon's; each file runs once, whoever runs it."""

from __future__ import annotations

import subprocess
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import pytest
from factories import insert, insert_outcomes, insert_trajectories, market_outcome, trajectory
from psycopg import sql
from scored_windows import column, hour

from babylon_tasks.db.babylon import TABLES, create
from babylon_tasks.db.migrate import (
    Migration,
    apply,
    as_sql,
    check,
    migrations,
    parse,
    pending,
    status,
)
from babylon_tasks.db.session import Connection, connect
from babylon_tasks.db.sql import parse as statements
from babylon_tasks.errors import MigrationError
from babylon_tasks.sandbox.servers import EmbeddedPostgres
from babylon_tasks.settings import Settings
from babylon_tasks.windows import window_start

HERE = Path(__file__).parent
NAMES = [migration.name for migration in migrations()]
Catalog = dict[str, list[tuple[Any, ...]]]


@pytest.fixture
def fresh(make_settings: Callable[..., Settings], babylon_database_url: str) -> Settings:
    """A Babylon database that was never migrated."""
    return make_settings(DATABASE_URL=babylon_database_url)


@pytest.fixture
def empty(make_settings: Callable[..., Settings], empty_database_url: str) -> Settings:
    return make_settings(DATABASE_URL=empty_database_url)


@pytest.fixture
def babylon(fresh: Settings) -> Settings:
    """A Babylon database with a row in each table that the migrations might touch."""
    with connect(fresh) as connection:
        [first, _] = insert_trajectories(
            connection, [trajectory(agent="agent-1"), trajectory(agent="agent-2")]
        )
        insert_outcomes(connection, [market_outcome()])
        insert(connection, "reward_judgments", [judgment(first)])
    return fresh


def judgment(trajectory_id: str) -> dict[str, Any]:
    return {
        "id": "j-1",
        "trajectoryId": trajectory_id,
        "judgeModel": "m",
        "judgeVersion": "1",
        "overallScore": 0.5,
        "reasoning": "r",
        "criteriaJson": "{}",
    }


def catalog(connection: Connection, schema: str = "public") -> Catalog:
    text = (HERE / "catalog.sql").read_text("utf-8")
    return {
        name: connection.execute(statement, {"schema": schema}).fetchall()
        for name, statement in statements(text, "catalog.sql")["name"].items()
    }


def contents(connection: Connection) -> Catalog:
    """Every row of schema public, with the transaction that wrote it."""
    found: Catalog = {}
    for (table,) in catalog(connection)["tables"]:
        query = sql.SQL("SELECT xmin::text, ctid::text, * FROM public.{} ORDER BY 1, 2")
        found[table] = connection.execute(query.format(sql.Identifier(table))).fetchall()
    return found


def test_a_babylon_database_gets_everything_in_order(fresh: Settings) -> None:
    with connect(fresh) as connection:
        assert pending(connection) == NAMES
        assert apply(fresh) == NAMES
        assert pending(connection) == []
        assert [entry.state for entry in status(connection)] == ["applied"] * len(NAMES)
        check(connection)


def test_a_second_run_changes_nothing(settings: Settings, connection: Connection) -> None:
    def seen() -> list[Any]:
        ledger = connection.execute("SELECT xmin::text, * FROM training.migrations").fetchall()
        return [catalog(connection), catalog(connection, "training"), contents(connection), ledger]

    before = seen()
    assert apply(settings) == []
    assert seen() == before


def test_what_an_older_version_scored_and_no_step_has_used_is_scored_anew(
    fresh: Settings,
) -> None:
    apply(fresh, known=migrations()[:1])
    states = ("open", "sealed", "scored", "training", "trained", "held_out", "skipped", "failed")
    with connect(fresh) as connection:
        rows = [
            {
                "window_id": hour(number),
                "starts_at": window_start(hour(number)),
                "held_out": False,
                "state": state,
            }
            for number, state in enumerate((*states, "skipped"))
        ]
        insert(connection, "training.windows", rows)
        rejection = {"reward_version": 1, "stage": "dataset", "reason": "no_logprobs"}
        rejection |= {"trajectory_id": "t", "window_id": hour(8)}
        insert(connection, "training.rejections", [rejection])
        apply(fresh)
        marked = "SELECT state FROM training.windows WHERE rescore IS NOT NULL ORDER BY starts_at"
        assert column(connection, marked) == ["scored", "training", "held_out", "skipped", "failed"]


def test_eight_runners_at_once_apply_each_file_once(fresh: Settings) -> None:
    with ThreadPoolExecutor(8) as pool:
        applied = list(pool.map(apply, [fresh] * 8))
    assert sorted(name for names in applied for name in names) == NAMES
    with connect(fresh) as connection:
        check(connection)


def test_on_a_babylon_database_nothing_of_babylons_changes(babylon: Settings) -> None:
    with connect(babylon) as connection:
        before = catalog(connection), contents(connection)
        assert all(before[1][table] for table in ("User", "trajectories", "market_outcomes"))
        assert apply(babylon) == NAMES
        assert (catalog(connection), contents(connection)) == before
        check(connection)


@pytest.mark.contract("today")
def test_babylons_tables_made_on_request_are_todays_own(babylon: Settings, empty: Settings) -> None:
    assert create(empty) == list(TABLES)
    with connect(babylon) as other, connect(empty) as connection:
        theirs, ours = catalog(other), catalog(connection)
    # The one difference: a stand-alone database has no users.
    for rows in theirs.values():
        rows[:] = [row for row in rows if not {'"User"', "User"} & set(map(str, row))]
    theirs["others"] = [row for row in theirs["others"] if row[1] not in ("User_pkey", "_User")]
    assert ours == theirs
    assert create(empty) == []
    assert apply(empty) == NAMES


def test_babylons_tables_are_made_only_where_there_is_none_of_them(fresh: Settings) -> None:
    with connect(fresh) as connection:
        connection.execute("DROP TABLE market_outcomes")
        before = catalog(connection)
        assert create(fresh) == []
        assert catalog(connection) == before


@pytest.mark.contract("today")
def test_eight_creators_at_once_make_each_table_once(empty: Settings) -> None:
    with ThreadPoolExecutor(8) as pool:
        made = list(pool.map(create, [empty] * 8))
    assert sorted(made) == [[]] * 7 + [list(TABLES)]


def test_a_database_without_trajectories_is_refused_and_left_as_it_is(
    fresh: Settings, empty: Settings
) -> None:
    with connect(fresh) as connection, connect(empty) as nothing:
        connection.execute("DROP TABLE trajectories CASCADE")
        there = r"has llm_call_logs, .*training_batches but no trajectories \(seen by .+ in schema"
        for settings, other, held in (
            (fresh, connection, there),
            (empty, nothing, "has no table of Babylon's"),
        ):
            before = catalog(other)
            with pytest.raises(MigrationError, match=f"DATABASE_URL may be wrong: .*{held}"):
                apply(settings)
            with pytest.raises(MigrationError, match="DATABASE_URL may be wrong"):
                check(other)
            assert catalog(other) == before
            assert other.execute("SELECT to_regnamespace('training')").fetchone() == (None,)


def test_a_database_that_0_1_0_migrated_is_up_to_date(
    settings: Settings, connection: Connection
) -> None:
    connection.execute(
        "INSERT INTO training.migrations (name, checksum) VALUES ('0001_babylon_tables', 'a7')"
    )
    assert apply(settings) == []
    check(connection)
    assert [(entry.name, entry.state) for entry in status(connection)] == [
        (name, "applied") for name in NAMES
    ]


def test_the_script_for_psql_makes_the_same_schema_and_may_run_twice(
    fresh: Settings, babylon_database_url: str, connection: Connection, postgres: EmbeddedPostgres
) -> None:
    for _ in range(2):
        psql(postgres, babylon_database_url, as_sql()).check_returncode()
    with connect(fresh) as other:
        for schema in ("public", "training"):
            assert catalog(other, schema) == catalog(connection, schema)
        check(other)
        assert apply(fresh) == []


@pytest.mark.contract("today")
def test_the_script_for_psql_stops_where_babylons_tables_are_not_or_makes_them(
    empty: Settings, empty_database_url: str, postgres: EmbeddedPostgres
) -> None:
    refused = psql(postgres, empty_database_url, as_sql())
    assert refused.returncode == 3
    assert "this may be the wrong database" in refused.stderr.splitlines()[0]
    assert "--create-babylon-tables" in refused.stderr
    with connect(empty) as connection:
        assert connection.execute("SELECT to_regnamespace('training')").fetchone() == (None,)

    for _ in range(2):
        script = as_sql(create_babylon_tables=True)
        psql(postgres, empty_database_url, script).check_returncode()
    assert create(empty) == []
    assert apply(empty) == []


def test_the_script_for_psql_stops_at_a_file_changed_since(
    database_url: str, postgres: EmbeddedPostgres
) -> None:
    script = as_sql([tampered(migrations()[0]), *migrations()[1:]])
    refused = psql(postgres, database_url, script)
    assert refused.returncode == 3
    assert f"migration {NAMES[0]} was applied with other contents" in refused.stderr


def test_a_file_changed_after_it_was_applied_is_refused_by_name(
    settings: Settings, connection: Connection
) -> None:
    connection.execute(
        "UPDATE training.migrations SET checksum = 'other' WHERE name = %s", [NAMES[0]]
    )
    with pytest.raises(MigrationError, match=f"migrations/{NAMES[0]}.sql is not what was applied"):
        apply(settings)
    with pytest.raises(MigrationError, match=NAMES[0]):
        check(connection)


def test_a_schema_that_is_behind_is_refused_with_what_to_do(fresh: Settings) -> None:
    with connect(fresh) as connection:
        with pytest.raises(MigrationError, match="run `babylon-tasks migrate`"):
            check(connection)
        apply(fresh)
        connection.execute("DELETE FROM training.migrations WHERE name = %s", [NAMES[-1]])
        with pytest.raises(MigrationError, match=f": {NAMES[-1]} not applied"):
            check(connection)


def test_a_database_migrated_by_newer_code_is_accepted_and_reported(
    settings: Settings, connection: Connection
) -> None:
    connection.execute("INSERT INTO training.migrations VALUES ('9999_later', 'x', now())")
    check(connection)
    assert apply(settings) == []
    assert [(entry.name, entry.state) for entry in status(connection)][-1] == (
        "9999_later",
        "unknown",
    )


def test_a_failing_file_leaves_nothing_and_keeps_those_before_it(
    settings: Settings, connection: Connection
) -> None:
    good = Migration("9001_good", "CREATE TABLE training.good (x int);")
    bad = Migration("9002_bad", "CREATE TABLE training.bad (x int); SELECT 1 / 0;")
    with pytest.raises(MigrationError, match=r"9002_bad failed.*division by zero"):
        apply(settings, known=[*migrations(), good, bad])
    tables = [row[0] for row in catalog(connection, "training")["tables"]]
    assert "good" in tables
    assert "bad" not in tables
    states = {entry.name: entry.state for entry in status(connection, [good, bad])}
    assert (states["9001_good"], states["9002_bad"]) == ("applied", "pending")


def test_a_runner_that_waits_in_vain_says_so(
    fresh: Settings, make_settings: Callable[..., Settings]
) -> None:
    with connect(fresh) as other, other.transaction():
        other.execute("SELECT pg_advisory_xact_lock(7018331104227)")
        with pytest.raises(MigrationError, match="gave up and was undone; see pg_locks"):
            apply(fresh, patience=0.1)


def test_two_files_with_one_number_are_refused() -> None:
    with pytest.raises(MigrationError, match="share a number"):
        parse({"0001_one.sql": "", "0001_two.sql": ""})


def tampered(migration: Migration) -> Migration:
    return Migration(migration.name, migration.sql + "-- one more line\n")


def psql(server: EmbeddedPostgres, url: str, script: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [server.program("psql"), "-X", "-q", url],
        input=script,
        capture_output=True,
        text=True,
        check=False,
    )


def test_a_database_without_an_encoding_is_read_as_utf_8(
    administrator: Connection, postgres: EmbeddedPostgres, make_settings: Callable[..., Settings]
) -> None:
    administrator.execute(
        "CREATE DATABASE old_ascii TEMPLATE template0 ENCODING 'SQL_ASCII' LOCALE 'C'"
    )
    settings = make_settings(DATABASE_URL=postgres.database("old_ascii"))
    try:
        create(settings)
        apply(settings)
        with connect(settings) as connection:
            check(connection)
            assert connection.execute("SELECT 'Bäbylon'").fetchone() == ("Bäbylon",)
    finally:
        administrator.execute("DROP DATABASE old_ascii WITH (FORCE)")
