"""Connections as Babylon's operators write them."""

from __future__ import annotations

import re
from collections.abc import Callable
from urllib.parse import urlsplit, urlunsplit

import pytest

from babylon_tasks.db import clock
from babylon_tasks.db.session import Connection, connect, session
from babylon_tasks.errors import (
    DatabaseError,
    DatabaseUnavailable,
    MigrationError,
    SettingsError,
)
from babylon_tasks.faults import Fault
from babylon_tasks.settings import Settings

pytestmark = pytest.mark.contract(None)


def test_a_url_written_for_prisma_connects_to_its_schema(
    make_settings: Callable[..., Settings], database_url: str
) -> None:
    settings = make_settings(DATABASE_URL=f"{database_url}?schema=training&connection_limit=3")
    with connect(settings) as connection:
        assert connection.execute("SHOW search_path").fetchone() == ("training",)


def test_options_of_the_url_hold_beside_ours(
    make_settings: Callable[..., Settings], database_url: str
) -> None:
    """A provider's or an operator's own; what we rely on stays ours."""
    given = "-c%20statement_timeout%3D77s%20-c%20timezone%3DAsia/Tokyo"
    settings = make_settings(DATABASE_URL=f"{database_url}?options={given}")
    with connect(settings) as connection:
        assert connection.execute("SHOW statement_timeout").fetchone() == ("77s",)
        assert connection.execute("SHOW timezone").fetchone() == ("UTC",)


def test_the_session_speaks_utc(make_settings: Callable[..., Settings]) -> None:
    with connect(make_settings()) as connection:
        assert connection.execute("SHOW timezone").fetchone() == ("UTC",)


@pytest.mark.contract("today")
def test_a_schema_that_was_never_migrated_is_named_with_its_remedy(
    make_settings: Callable[..., Settings], babylon_database_url: str
) -> None:
    settings = make_settings(DATABASE_URL=babylon_database_url)
    with pytest.raises(MigrationError, match="babylon-tasks migrate"), session(settings) as empty:
        empty.execute("SELECT FROM training.windows")


def test_a_wrong_password_is_refused_without_repeating_it(
    make_settings: Callable[..., Settings], database_url: str
) -> None:
    password = database_url.split(":")[2].split("@")[0]
    wrong = database_url.replace(password, "planted-secret")
    with pytest.raises(DatabaseUnavailable, match="check DATABASE_URL") as refusal:
        connect(make_settings(DATABASE_URL=wrong), patience=0.5)
    assert "planted-secret" not in str(refusal.value)


def test_a_right_that_is_missing_is_named_with_its_remedy(
    make_settings: Callable[..., Settings], database_url: str, connection: Connection
) -> None:
    connection.execute("CREATE ROLE stranger LOGIN PASSWORD 'planted-secret'")
    try:
        url = urlsplit(database_url)
        login = f"stranger:planted-secret@{url.hostname}:{url.port}"
        settings = make_settings(DATABASE_URL=urlunsplit(url._replace(netloc=login)))
        with (
            pytest.raises(DatabaseError, match=r"permission denied for schema training.*grant"),
            session(settings) as stranger,
        ):
            stranger.execute("SELECT FROM training.windows")
    finally:
        connection.execute("DROP ROLE stranger")


def test_a_function_that_is_denied_is_named_with_the_command_that_grants_it(
    make_settings: Callable[..., Settings], database_url: str, connection: Connection
) -> None:
    connection.execute("CREATE ROLE stranger LOGIN PASSWORD 'planted-secret'")
    connection.execute("GRANT USAGE ON SCHEMA training TO stranger")
    connection.execute("REVOKE EXECUTE ON FUNCTION training.clock FROM PUBLIC")
    try:
        url = urlsplit(database_url)
        login = f"stranger:planted-secret@{url.hostname}:{url.port}"
        settings = make_settings(DATABASE_URL=urlunsplit(url._replace(netloc=login)))
        with pytest.raises(DatabaseError) as refusal, session(settings) as stranger:
            clock.of_hours(stranger)
        command = re.search(r"GRANT EXECUTE ON .* TO \"stranger\"", str(refusal.value))
        assert command is not None, refusal.value
        connection.execute(command[0].encode())
        with session(settings) as stranger:
            clock.of_hours(stranger)
    finally:
        connection.execute("GRANT EXECUTE ON FUNCTION training.clock TO PUBLIC")
        connection.execute("DROP OWNED BY stranger")
        connection.execute("DROP ROLE stranger")


def test_anothers_lock_is_waited_for_and_then_worth_another_try(
    settings: Settings, connection: Connection
) -> None:
    with connection.transaction():
        connection.execute("LOCK TABLE training.windows IN ACCESS EXCLUSIVE MODE")
        with (
            pytest.raises(DatabaseUnavailable, match=r"could not get a lock in time.*try again"),
            session(settings) as waiting,
        ):
            waiting.execute("SET lock_timeout = 50; SELECT FROM training.windows")


SLOW = "SET statement_timeout = 50; SELECT pg_sleep(60)"
CANCELED = "SELECT pg_cancel_backend(pg_backend_pid()), pg_sleep(60)"
DEADLOCK = "DO $$ BEGIN RAISE 'deadlock detected' USING ERRCODE = '40P01'; END $$"
NOT_IN_ORDER = "DO $$ BEGIN RAISE 'could not serialize access' USING ERRCODE = '40001'; END $$"


@pytest.mark.parametrize(
    ("text", "why"),
    [
        (SLOW, "canceling statement due to statement timeout"),
        (CANCELED, "canceling statement due to user request"),
        (DEADLOCK, "deadlock detected"),
        (NOT_IN_ORDER, "could not serialize access"),
    ],
)
def test_a_statement_that_postgres_breaks_off_is_worth_another_try(
    settings: Settings, text: str, why: str
) -> None:
    with (
        pytest.raises(DatabaseUnavailable, match=f"{why}.*try again") as broken_off,
        session(settings) as canceled,
    ):
        canceled.execute(text.encode())
    assert broken_off.value.fault is Fault.LOCK_TIMEOUT
    assert "could not get a lock" not in str(broken_off.value)


def test_a_parameter_that_libpq_does_not_know_is_refused_without_repeating_it(
    make_settings: Callable[..., Settings], database_url: str
) -> None:
    settings = make_settings(DATABASE_URL=f"{database_url}?unheard=planted-secret")
    with pytest.raises(SettingsError, match="DATABASE_URL") as refusal:
        connect(settings)
    assert "planted-secret" not in str(refusal.value)
