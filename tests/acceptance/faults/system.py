"""The system under faults: servers of its own behind proxies, questions that survive them."""

from __future__ import annotations

import os
import signal
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager, suppress
from itertools import islice
from pathlib import Path
from typing import Any

import psycopg
import redis
from acceptance.faults.agents import Agents
from acceptance.faults.kinds import Kind
from acceptance.faults.small_disk import SmallDisk
from acceptance.harness import PATIENCE, Babylon, hours, until
from acceptance.outcome import undecided
from factories import Row, insert_trajectories
from pgbouncer import PgBouncer
from psycopg.rows import dict_row
from tcp_proxy import TcpProxy

from babylon_tasks.db.session import Connection
from babylon_tasks.pipeline.discover import discover
from babylon_tasks.pipeline.score import score_window
from babylon_tasks.processes import ProcessName
from babylon_tasks.sandbox.servers import EmbeddedPostgres, EmbeddedValkey
from babylon_tasks.sandbox.stack import Stack
from babylon_tasks.windows import is_held_out
from checks.clock.moved_clock import MovedClock

HELD_OUT_SHARE = 0.5  # tests take the other hours
FEW_HELD_OUT = 2  # groups
MANY_HELD_OUT = 64  # enough to find the trainer evaluating them
ANSWER_SECONDS = 30  # of a server, to the test
# The state of a window that a worker has in hand.
IN_HAND: dict[str, str] = {ProcessName.CPU_WORKER: "scoring", ProcessName.GPU_WORKER: "training"}


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
        kind: Kind,
        postgres: EmbeddedPostgres,
        postgres_proxy: TcpProxy,
        valkey: EmbeddedValkey,
        valkey_proxy: TcpProxy,
        clock: MovedClock,
        pooler: PgBouncer | None = None,
        postgres_disk: SmallDisk | None = None,
    ) -> None:
        super().__init__(stack, connection)
        self.kind = kind
        self.disk = stack.disk
        self.clock = clock
        self.struck = hours(1)[0]  # the hour at which the fault strikes, of a cell
        self.cells: list[str] = []  # what has struck it so far
        self.agents: Agents | None = None  # of a cell
        # What a fault must have been seen to do by the end of its cell: text, and whether it has.
        self.to_show: list[tuple[str, Callable[[], bool]]] = []
        self.frozen: int | None = None  # a trainer that a fault has stopped for good, by its pid
        self.second: System | None = None
        self._used_hours = 0
        self._log_starts: dict[str, int] = {}
        self.postgres = postgres
        self.postgres_proxy = postgres_proxy
        self.valkey = valkey
        self.valkey_proxy = valkey_proxy
        self.pooler = pooler
        self.postgres_disk = postgres_disk
        self._database = connection.info.dbname

    def next_hours(self, count: int) -> list[str]:
        """The hours after those that were taken before."""
        self._used_hours += count
        return self.all_hours()[-count:]

    def all_hours(self) -> list[str]:
        """Those that were taken, oldest first; none of them is held out."""
        offered = hours(4 * self._used_hours + 40)
        taken = (hour for hour in offered if not self._held_out(hour))
        return list(islice(taken, self._used_hours))

    def hold_out_an_hour(self) -> None:
        """Record the hour that checkpoints are evaluated on, and score it; no process is needed."""
        first = next(hour for hour in hours(40) if self._held_out(hour))
        self.record(first, groups=MANY_HELD_OUT if self.kind.evaluates else FEW_HELD_OUT)
        settings = self.stack.settings
        until("it is sealed", lambda: first in discover(settings, actor="test").to_score)
        score_window(settings, first, actor="test")
        assert self.states() == {first: "held_out"}

    def _held_out(self, hour: str) -> bool:
        return is_held_out(hour, self.lineage, self.stack.settings.held_out_share)

    def await_trained(self, windows: list[str], seconds: float = PATIENCE) -> None:
        """Until they are trained, and each checkpoint is decided about where they are evaluated."""
        deadline = time.monotonic() + seconds
        self.await_states(windows, "trained", seconds=seconds)
        if self.kind.evaluates:
            until(
                "each checkpoint is decided about",
                lambda: self._alive() and not undecided(self),
                deadline - time.monotonic(),
            )

    def start(self, *names: str) -> None:
        """As Babylon's; ``log_since_start`` begins here. A second lineage starts with the first."""
        if self.second is not None and not self.second.names():
            self.second.start("gpu-worker")
            begun = "SELECT FROM training.lineages WHERE name = %s"
            name = self.second.lineage
            until(f"lineage {name} has begun", lambda: self.rows(begun, (name,)))
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
        return psycopg.connect(
            self.postgres.database(self._database),
            autocommit=True,
            connect_timeout=ANSWER_SECONDS,
            options=f"-c statement_timeout={ANSWER_SECONDS}s",
        )

    def rows(self, query: Any, parameters: Any = ()) -> list[dict[str, Any]]:
        """All rows of a query, by column; on a new connection, since servers come and go."""
        with self.open() as connection, connection.cursor(row_factory=dict_row) as cursor:
            return cursor.execute(query, parameters).fetchall()

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
        """The hours that rows name; some name none."""
        query = 'SELECT DISTINCT "windowId" AS hour FROM trajectories WHERE "windowId" IS NOT NULL'
        found = self.rows(query)
        return {row["hour"] for row in found}

    def unfinished(self) -> set[str]:
        """The hours that have rows and that are not trained, or not decided about, yet."""
        states, ended = self.states(), ("trained", "held_out")
        waiting = {hour for hour in self.recorded() if states.get(hour) not in ended}
        if self.kind.evaluates:
            late = set(undecided(self))
            waiting |= {
                hour
                for step in self.steps("committed")
                if step["target_step"] in late
                for hour in step["windows"]
            }
        return waiting

    def on_disk(self, path: Path) -> Path:
        """The test does not see the small disk where the processes do."""
        return self.disk.seen(path)

    def all_logs(self) -> list[str]:
        """What each process has logged."""
        return [self.log(name) for name in self.names()]

    def insert(self, rows: Sequence[Row]) -> list[str]:
        """As Babylon's, on a new connection."""
        with self.open() as connection:
            return insert_trajectories(connection, rows)

    def record(self, window: str, **how: Any) -> list[str]:
        """As Babylon's; agents of a second lineage act in the hour too."""
        made = super().record(window, **how)
        if self.second is not None:
            self.second.record(window, **how)
        return made

    def policy(self) -> str:
        """The checkpoint that serves, else the base model."""
        serving = "SELECT serving_step FROM training.lineages WHERE name = %s"
        found = self.rows(serving, (self.lineage,))
        step = found[0]["serving_step"] if found else 0
        return f"{self.lineage}@{step}"

    def logs(self) -> Iterator[tuple[str, str]]:
        """As Babylon's, and those of a second lineage."""
        yield from super().logs()
        if self.second is not None:
            yield from ((f"{self.second.lineage}: {name}", end) for name, end in self.second.logs())

    def redis(self) -> redis.Redis:
        """A client of the test's own, past the proxy."""
        unverified = {"ssl_cert_reqs": "none"} if self.kind.tls else {}
        return redis.Redis.from_url(self.valkey.url, socket_timeout=ANSWER_SECONDS, **unverified)

    def await_waiter(self, table: str) -> None:
        """Until somebody waits for a lock on one of our tables."""
        until(
            f"somebody waits for training.{table}",
            lambda: self._alive() and self.waits_for(table),
        )

    def waits_for(self, *tables: str) -> bool:
        """Whether somebody waits for a lock on one of these tables of ours."""
        waiting = (
            "SELECT FROM pg_locks JOIN pg_class ON pg_class.oid = relation"
            " JOIN pg_namespace n ON n.oid = relnamespace"
            " WHERE NOT granted AND nspname = 'training' AND relname = ANY (%s)"
        )
        return bool(self.rows(waiting, (list(tables),)))

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

    def evaluates_now(self) -> bool:
        """Whether the groups of an evaluation lie on disk for the trainer."""
        folder = self.on_disk(self.stack.settings.data_dir.absolute()) / self.lineage
        return any((folder / "evaluations").glob("*.json"))

    def signal_worker(self, name: str, number: signal.Signals) -> None:
        """To a process and its children; the trainer leads a group of its own."""
        os.killpg(self.process(name).child.pid, number)
        if number == signal.SIGSTOP:
            self._note_bereaved(name)

    def kill(self, name: str, *, group: bool = True) -> None:
        """As Babylon's; what it had in hand has lost its worker."""
        super().kill(name, group=group)
        self._note_bereaved(name)

    def kill_child(self, name: str) -> None:
        """SIGKILL to the child of a worker that runs its tasks."""
        child = self.pool_child(name)
        child.kill()
        child.wait(60)
        self._note_bereaved(name)

    def _note_bereaved(self, name: str) -> None:
        # Nobody takes it over before its lease is over. Servers may be away meanwhile.
        state = IN_HAND.get(name)
        with suppress(psycopg.OperationalError):
            self.bereaved.update(hour for hour, now in self.states().items() if now == state)
