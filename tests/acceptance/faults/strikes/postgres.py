"""Postgres dies, stops, takes no writes, or cannot be reached."""

from __future__ import annotations

import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress

import psutil
import psycopg
from acceptance.faults.strikes.leases import outlast_leases
from acceptance.faults.system import System
from acceptance.harness import until

from babylon_tasks.db.session import Connection


@contextmanager
def postgres_killed(system: System) -> Iterator[None]:
    """SIGKILL to Postgres; it is started again."""
    system.postgres.kill()
    yield
    system.postgres.restart()


@contextmanager
def pooler_killed(system: System) -> Iterator[None]:
    """SIGKILL to PgBouncer; it is started again."""
    assert system.pooler is not None
    system.pooler.kill()
    yield
    system.pooler.restart()


@contextmanager
def postgres_restarted(system: System) -> Iterator[None]:
    """Postgres is shut down and started again."""
    system.postgres.restart()
    yield


@contextmanager
def postgres_connections_ended(system: System) -> Iterator[None]:
    """An administrator ends every connection (a failover does as well)."""
    _end_sessions(system)
    yield


@contextmanager
def postgres_connections_ended_again(system: System) -> Iterator[None]:
    """Every connection is ended again and again, for longer than all attempts would last."""
    yield
    for _ in range(40):
        _end_sessions(system)
        time.sleep(0.3)


@contextmanager
def postgres_connections_reset(system: System) -> Iterator[None]:
    """The network resets every connection to Postgres and refuses new ones for a while."""
    system.postgres_proxy.refuse()
    system.postgres_proxy.cut()
    yield
    system.postgres_proxy.refuse(False)


@contextmanager
def postgres_connections_dead(system: System) -> Iterator[None]:
    """Every connection to Postgres is half-open from now on, for ever; new ones work."""
    system.postgres_proxy.half_open()
    yield


@contextmanager
def postgres_frozen(system: System) -> Iterator[None]:
    """Postgres is stopped (a frozen machine) for longer than every lease."""
    family = [psutil.Process(system.postgres.pid)]
    family += family[0].children(recursive=True)
    for process in family:
        with suppress(psutil.NoSuchProcess):
            process.suspend()
    yield
    outlast_leases(system)
    for process in family:
        with suppress(psutil.NoSuchProcess):
            process.resume()


@contextmanager
def postgres_read_only(system: System) -> Iterator[None]:
    """Postgres takes no writes (a failover leaves a standby)."""
    met = _refusals(system)
    _default_read_only(system, on=True)
    _end_sessions(system)
    yield
    until("a worker has met it", lambda: _refusals(system) > met)
    _default_read_only(system, on=False)


@contextmanager
def postgres_read_only_beyond_leases(system: System) -> Iterator[None]:
    """Postgres takes no writes for longer than every lease, twice on the same window."""
    met = _refusals(system)
    _default_read_only(system, on=True)
    _end_sessions(system)
    yield
    until("a worker has met it", lambda: _refusals(system) > met)
    outlast_leases(system)
    with system.locked("scores"), system.locked("checkpoints"):
        _default_read_only(system, on=False)
        until(
            "the window is at work again, or done",
            lambda: system.waits_for("scores", "checkpoints") or not system.unfinished(),
        )
        met = _refusals(system)
        _default_read_only(system, on=True)
        _end_sessions(system)  # with the two that have locked a table
    until("a worker has met it again", lambda: _refusals(system) > met)
    outlast_leases(system)
    _default_read_only(system, on=False)


@contextmanager
def postgres_disk_full(system: System) -> Iterator[None]:
    """The disk of Postgres is full, and its tables cannot grow; somebody makes room."""
    assert system.postgres_disk is not None
    met = _log_count(system, "No space left on device")
    connection = system.open()  # a new one may have to write a file of its catalog's
    with system.postgres_disk.full():
        with suppress(psycopg.errors.DiskFull), connection:
            connection.execute("CREATE TABLE larger AS SELECT generate_series(1, 1000000)")
            raise AssertionError("there is room on the disk of Postgres")
        yield
        until(
            "a worker has met it, or had nothing left to do, or Postgres has ended",
            lambda: (
                not system.postgres.running
                or _log_count(system, "No space left on device") > met
                or _nothing_is_left(system)
            ),
        )
    if not system.postgres.running:
        system.postgres.restart()


@contextmanager
def postgres_ended_by_its_disk(system: System) -> Iterator[None]:
    """The disk of Postgres is full, its log cannot grow, and it ends; somebody starts it again."""
    assert system.postgres_disk is not None
    connection = system.open()  # a new one may have to write a file of its catalog's
    with system.postgres_disk.full():
        until("Postgres has ended", lambda: _ended_for_its_log(system, connection))
        yield
    connection.close()
    if not system.postgres.running:
        system.postgres.restart()


@contextmanager
def column_renamed(system: System) -> Iterator[None]:
    """A migration newer than the workers renames a column that scoring writes; it is taken back."""
    met = _log_count(system, "group_key")
    system.execute("ALTER TABLE training.scores RENAME COLUMN group_key TO key")
    yield
    until(
        "a worker has met it, or had nothing left to do",
        lambda: _log_count(system, "group_key") > met or not system.unfinished(),
    )
    system.execute("ALTER TABLE training.scores RENAME COLUMN key TO group_key")


def _ended_for_its_log(system: System, connection: Connection) -> bool:
    # More at once than the log has files that a checkpoint could hand it to be written over.
    with suppress(psycopg.OperationalError):
        connection.execute(
            "SELECT pg_logical_emit_message(false, 'filling', repeat('x', 16000000))"
            " FROM generate_series(1, 16)"
        )
    if not (connection.closed and system.postgres.running):
        return not system.postgres.running
    # Where a checkpoint meets it first, Postgres begins anew by itself, and lets nobody in.
    try:
        system.open().close()
    except psycopg.OperationalError as refused:
        return "could not write init file" in str(refused)
    return True


def _nothing_is_left(system: System) -> bool:
    with suppress(psycopg.OperationalError):
        return not system.unfinished()
    return False


def _log_count(system: System, text: str) -> int:
    return sum(log.count(text) for log in system.all_logs())


def _refusals(system: System) -> int:
    return _log_count(system, "read-only transaction")


def _default_read_only(system: System, *, on: bool) -> None:
    with system.open() as connection:
        connection.execute("SET default_transaction_read_only = off")
        connection.execute(
            f"ALTER SYSTEM SET default_transaction_read_only = {'on' if on else 'off'}"
        )
        connection.execute("SELECT pg_reload_conf()")


def _end_sessions(system: System) -> None:
    system.rows(
        "SELECT pg_terminate_backend(pid) FROM pg_stat_activity"
        " WHERE datname = current_database() AND pid <> pg_backend_pid()"
    )
