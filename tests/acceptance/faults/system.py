"""The system under faults: servers of its own behind proxies, questions that survive them."""

from __future__ import annotations

import os
import signal
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import datetime
from pathlib import Path
from typing import Any

import psycopg
import redis
from acceptance.faults.small_disk import SmallDisk
from acceptance.harness import Babylon, hours, until
from psycopg.rows import dict_row
from tcp_proxy import TcpProxy

from babylon_tasks.db.session import Connection
from babylon_tasks.processes import ProcessName
from babylon_tasks.sandbox.servers import EmbeddedPostgres, EmbeddedValkey
from babylon_tasks.sandbox.stack import Stack
from checks.clock.moved_clock import MovedClock


class StackOnDisk(Stack):
    """The GPU worker, and the trainer with it, has its data folder on a small disk."""

    disk: SmallDisk

    def command(self, name: str) -> list[str]:
        """Build the command line of a process, on the small disk where it uses one."""
        command = super().command(name)
        return [*self.disk.command, *command] if name == ProcessName.GPU_WORKER else command


class System(Babylon):
    """A stack whose processes reach Postgres and Redis through proxies; the test goes directly."""

    def __init__(
        self,
        stack: StackOnDisk,
        connection: Connection,
        *,
        postgres: EmbeddedPostgres,
        postgres_proxy: TcpProxy,
        valkey: EmbeddedValkey,
        valkey_proxy: TcpProxy,
        clock: MovedClock,
    ) -> None:
        super().__init__(stack, connection)
        self.disk = stack.disk
        self.clock = clock
        self.struck = hours(1)[0]  # the hour at which the fault strikes, of a cell
        self.cells: list[str] = []  # what has struck it so far
        self.harmed_at: dict[str, datetime] = {}  # by URI, by Postgres's clock
        self._used_hours = 0
        self._log_starts: dict[str, int] = {}
        self.postgres = postgres
        self.postgres_proxy = postgres_proxy
        self.valkey = valkey
        self.valkey_proxy = valkey_proxy
        self._database = connection.info.dbname

    def next_hours(self, count: int) -> list[str]:
        """The hours after those that were taken before."""
        self._used_hours += count
        return self.all_hours()[-count:]

    def all_hours(self) -> list[str]:
        """Those that were taken, oldest first."""
        return hours(self._used_hours)

    def start(self, *names: str) -> None:
        """As Babylon's; ``log_since_start`` begins here."""
        for name in names:
            path = self.stack.data_dir / f"{name}.log"
            self._log_starts[name] = path.stat().st_size if path.exists() else 0
        super().start(*names)

    def log_since_start(self, name: str) -> str:
        """What the newest process of that name has logged, and nothing of those before it."""
        path = self.stack.data_dir / f"{name}.log"
        return path.read_bytes()[self._log_starts[name] :].decode("utf-8", "replace")

    def open(self) -> Connection:
        """A connection of the test's own, past the proxy."""
        return psycopg.connect(self.postgres.database(self._database), autocommit=True)

    def rows(self, query: Any, parameters: Any = ()) -> list[dict[str, Any]]:
        """All rows of a query, by column; on a new connection, since servers come and go."""
        with self.open() as connection, connection.cursor(row_factory=dict_row) as cursor:
            return cursor.execute(query, parameters).fetchall()

    def trained_from_harmed(self) -> list[int]:
        """Committed steps that were begun from a checkpoint after its files had been changed."""
        begun_from = (
            "SELECT s.target_step FROM training.steps s"
            " JOIN training.checkpoints c ON c.lineage = s.lineage AND c.step = s.parent_step"
            " WHERE s.state = 'committed' AND c.uri = %s AND s.started_at > %s"
        )
        harmed = self.harmed_at.items()
        return [row["target_step"] for one in harmed for row in self.rows(begun_from, one)]

    def takes_writes(self) -> bool:
        """Whether Postgres would take Babylon's rows at this moment."""
        try:
            with psycopg.connect(
                self.postgres.database(self._database), connect_timeout=2
            ) as connection:
                found = connection.execute("SHOW transaction_read_only").fetchone()
        except psycopg.OperationalError:
            return False
        return found == ("off",)

    def execute(self, query: Any, parameters: Any = ()) -> None:
        """A statement, on a new connection."""
        with self.open() as connection:
            connection.execute(query, parameters)

    def recorded(self) -> set[str]:
        """The hours that have rows."""
        found = self.rows('SELECT DISTINCT "windowId" AS hour FROM trajectories')
        return {row["hour"] for row in found}

    def unfinished(self) -> set[str]:
        """The hours that have rows and that are not trained yet."""
        states = self.states()
        return {hour for hour in self.recorded() if states.get(hour) != "trained"}

    def on_disk(self, path: Path) -> Path:
        """The test does not see the small disk where the processes do."""
        return self.disk.seen(path)

    def all_logs(self) -> list[str]:
        """What each process has logged."""
        return [self.log(name) for name in self.names()]

    def record(self, window: str, **how: Any) -> list[str]:
        """As Babylon's, on a new connection."""
        with self.open() as self.connection:
            return super().record(window, **how)

    def policy(self) -> str:
        """The checkpoint that serves, else the base model."""
        found = self.rows("SELECT serving_step FROM training.lineages")
        step = found[0]["serving_step"] if found else 0
        return f"{self.lineage}@{step}"

    def redis(self) -> redis.Redis:
        """A client of the test's own, past the proxy."""
        return redis.Redis.from_url(self.valkey.url)

    def await_waiter(self, table: str) -> None:
        """Until somebody waits for a lock on one of our tables."""
        waiting = (
            "SELECT FROM pg_locks JOIN pg_class ON pg_class.oid = relation"
            " JOIN pg_namespace n ON n.oid = relnamespace"
            " WHERE NOT granted AND nspname = 'training' AND relname = %s"
        )
        until(
            f"somebody waits for training.{table}",
            lambda: self._alive() and self.rows(waiting, (table,)),
        )

    @contextmanager
    def locked(self, table: str) -> Iterator[None]:
        """Nobody else writes to a table of ours until the block ends, or Postgres does."""
        connection = self.open()
        try:
            connection.execute("BEGIN")
            connection.execute(f"LOCK TABLE training.{table} IN EXCLUSIVE MODE")  # type: ignore[arg-type]
            yield
        finally:
            connection.close()  # and with it the transaction

    def signal_worker(self, name: str, number: signal.Signals) -> None:
        """To a process and its children; the trainer leads a group of its own."""
        os.killpg(self.process(name).child.pid, number)
