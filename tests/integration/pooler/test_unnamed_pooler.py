"""A pooler of which DATABASE_URL says nothing is named, with what to add."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import psycopg
import pytest
from pgbouncer import PgBouncer
from recordings import record
from structlog.testing import capture_logs

from babylon_tasks.db.session import Connection, connect, session
from babylon_tasks.db.session_values import session_values
from babylon_tasks.errors import DatabaseUnavailable
from babylon_tasks.faults import Fault, fault_of
from babylon_tasks.recorder import Recorder
from babylon_tasks.sandbox.servers import EmbeddedPostgres
from babylon_tasks.settings import Settings

pytestmark = pytest.mark.contract("today")
MakeSettings = Callable[..., Settings]


@pytest.mark.parametrize("ignored", ["", "options"], ids=["refuses", "ignores"])
def test_without_pgbouncer_true_the_error_says_to_add_it(
    ignored: str,
    servers_dir: Path,
    postgres: EmbeddedPostgres,
    make_settings: MakeSettings,
    database_url: str,
) -> None:
    """Whether the pooler refuses options, by default, or ignores them, as many are set to do.

    Even if the same values hold by themselves: statements that another session prepared do not.
    """
    with psycopg.connect(database_url, autocommit=True) as owner:
        for name, value in session_values(
            make_settings(DATABASE_URL=f"{database_url}?pgbouncer=true")
        ).items():
            owner.execute(f"ALTER DATABASE {owner.info.dbname} SET {name} = '{value}'")
    home = servers_dir / "pgbouncer-options"
    with PgBouncer(home, postgres, ignore_startup_parameters=ignored) as pooler:
        settings = make_settings(DATABASE_URL=pooler.before(database_url))
        with pytest.raises(
            DatabaseUnavailable, match="add pgbouncer=true to DATABASE_URL"
        ) as error:
            connect(settings)
        assert fault_of(error.value) is Fault.MISCONFIGURED

        # A recorder waits for whoever corrects that, and says so.
        with capture_logs() as logs:
            recorder = Recorder(settings)
            record(recorder, 1)
            assert not recorder.flush(1)
            assert recorder.failed == 0
            recorder.close(0)
    (why, *_) = [entry["why"] for entry in logs if entry["event"] == "recorder.write_delayed"]
    assert "add pgbouncer=true" in why


def test_a_prepared_statement_that_a_pooler_has_lost_says_the_same(settings: Settings) -> None:
    with (
        pytest.raises(DatabaseUnavailable, match="add pgbouncer=true to DATABASE_URL"),
        session(settings) as connection,
    ):
        connection.execute("EXECUTE lost")


def test_a_recorder_tries_again_over_another_connection_after_that(
    settings: Settings, connection: Connection
) -> None:
    connection.execute(
        "CREATE FUNCTION forget() RETURNS trigger LANGUAGE plpgsql AS "
        "$$ BEGIN EXECUTE 'DEALLOCATE ALL'; RETURN NULL; END $$;"
        "CREATE TRIGGER forget AFTER INSERT ON trajectories EXECUTE FUNCTION forget()"
    )
    with Recorder(settings) as recorder:
        record(recorder, 10)
        assert recorder.flush(60)
    assert (recorder.recorded, recorder.failed) == (10, 0)
