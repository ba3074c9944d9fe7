"""A running system for one test: real processes, watched, killed on demand, all gone at the end.

Windows are filled with rows as Babylon's recorders write them, not by asking a model.
"""

from __future__ import annotations

import json
import os
import re
import signal
import time
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from contextlib import suppress
from datetime import datetime
from pathlib import Path
from typing import Any, TypeVar

import psutil
import redis
from celery import Celery
from factories import EVER, Row, exact_call, insert_trajectories, step, trajectory
from psycopg.rows import dict_row

from babylon_tasks.db.session import Connection
from babylon_tasks.db.sql import statement
from babylon_tasks.sandbox.stack import Process, Stack
from babylon_tasks.settings import Settings
from babylon_tasks.tasks.app import KEY_PREFIX, configuration
from babylon_tasks.training.protocol import GRADIENT_STEPS
from babylon_tasks.windows import WINDOW, window_id, window_start

T = TypeVar("T")
FIRST = "2025-12-31T23:00"  # the next hour is of another year
PATIENCE = 180.0  # a bound for a hanging test, not an expectation
_TAIL = 12

# Leases and pauses shrunk like the demo's hours, but wide enough for a machine that is busy.
OPTIONS = {
    "BABYLON_BACKEND": "cpu",
    "BABYLON_LINEAGE": "acceptance",
    "BABYLON_GRACE_SECONDS": "0",
    "BABYLON_UPKEEP_INTERVAL_SECONDS": "0.5",
    # The hours are fixed, so an ordinary look-back would reach them on some days only; rows before
    # one are those of tests/integration/test_unopened_windows.py.
    "BABYLON_LOOKBACK_HOURS": EVER,
    "BABYLON_HELD_OUT_SHARE": "0",
    "BABYLON_MAX_WINDOWS_PER_STEP": "1",
    "BABYLON_LEASE_SECONDS": "5",
    "BABYLON_RETRY_DELAY_SECONDS": "0",
    "BABYLON_PACKED_SEQUENCE_LENGTH": "128",
    "BABYLON_PROMOTION_MODE": "manual",  # there are no held-out hours
    "OMP_NUM_THREADS": "1",
}


def hours(count: int) -> list[str]:
    """Windows in a row, oldest first: the same whenever a test is run."""
    first = window_start(FIRST)
    return [window_id(first + number * WINDOW) for number in range(count)]


def until(what: str, found: Callable[[], T], seconds: float = PATIENCE) -> T:
    """Ask again and again until the answer is truthy; fails the test with ``what`` if never."""
    deadline = time.monotonic() + seconds
    while time.monotonic() < deadline:
        answer = found()
        if answer:
            return answer
        time.sleep(0.05)
    raise AssertionError(f"waited {seconds:.0f} s in vain until {what}; last answer: {answer!r}")


class Babylon:
    """The stack of one test and its database; ``down`` are the processes that the test ended.

    ``late``: trajectories of the test's that may be rejected for it. ``harmed``: checkpoints, by
    URI, whose files the test has changed, and when by Postgres's clock. ``taught``: trajectories
    of this lineage's agents. ``neighbours``: other lineages of the same database. ``bereaved``:
    how often a worker that the test made vanish had a window in hand.
    """

    def __init__(self, stack: Stack, connection: Connection) -> None:
        self.stack = stack
        self.connection = connection
        self.lineage = stack.settings.lineage
        self.down: list[Process] = []
        self.late: set[str] = set()
        self.harmed: dict[str, datetime] = {}
        self.taught: set[str] = set()
        self.neighbours: list[Babylon] = []
        self.bereaved: Counter[str] = Counter()

    # --- rows in

    def record(
        self,
        window: str,
        *,
        groups: int = 2,
        agents: int = 3,
        spread: float = 400.0,
        **columns: Any,
    ) -> list[str]:
        """A window of markets that several agents decided on, asking ``policy()``.

        ``columns``: what a column holds instead. ``spread`` 0: all of a group earn the same, and
        there is nothing to learn.
        """
        asked = self.policy()
        rows = []
        for number in range(groups):
            for agent in range(agents):
                profit = spread * (agent / (agents - 1) - 0.5)
                call = exact_call(
                    "YES" if profit > 0 else "NO",
                    model=asked,
                    userPrompt=f"Market {number} of {window}: will it rise?",
                )
                steps = [step(0, [call], window=window)]
                name = f"agent-{agent}"
                rows.append(
                    trajectory(window, name, steps, scenario=f"m-{number}", final_pnl=profit)
                    | columns
                )
        made = self.insert(rows)
        self.taught.update(made)
        return made

    def insert(self, rows: Sequence[Row]) -> list[str]:
        """Write rows of trajectories; returns their ids."""
        return insert_trajectories(self.connection, rows)

    def policy(self) -> str:
        """The model that answers the agents."""
        return f"{self.lineage}@0"

    # --- what the database says

    def rows(self, query: Any, parameters: Any = ()) -> list[dict[str, Any]]:
        """All rows of a query, by column."""
        with self.connection.cursor(row_factory=dict_row) as cursor:
            return cursor.execute(query, parameters).fetchall()

    def states(self) -> dict[str, str]:
        """Window to state."""
        found = self.rows("SELECT window_id, state FROM training.windows")
        return {row["window_id"]: row["state"] for row in found}

    def steps(self, state: str | None = None) -> list[dict[str, Any]]:
        """The lineage's rows of ``training.steps``, oldest first."""
        query = "SELECT * FROM training.steps WHERE lineage = %s ORDER BY id"
        every = self.rows(query, (self.lineage,))
        return [row for row in every if state is None or row["state"] == state]

    def events_of(self, window: str) -> list[dict[str, Any]]:
        """The events that `why` lists of a window, without decisions on checkpoints, in order."""
        asked = {"window": window, "lineage": None}
        every = self.rows(statement("reports.events_of_window"), asked)
        return [row for row in every if row["kind"] not in ("promote", "hold", "rollback")]

    def await_states(self, windows: Sequence[str], *wanted: str, seconds: float = PATIENCE) -> None:
        """Until all of these windows stand in one of these states."""
        until(
            f"{list(windows)} are {' or '.join(wanted)}",
            lambda: self._alive() and all(self.states().get(name) in wanted for name in windows),
            seconds,
        )

    def await_what(self, what: str, found: Callable[[], T]) -> T:
        """Until the answer is truthy, with the processes watched meanwhile."""
        return until(what, lambda: self._alive() and found())  # type: ignore[arg-type, return-value]

    def await_running_step(self) -> dict[str, Any]:
        """Until the trainer has done at least one gradient step of a training step."""
        return until(
            "a training step is under way",
            lambda: (
                self._alive()
                and next((row for row in self.steps("running") if _trains(row["progress"])), None)
            ),
        )

    # --- files

    def on_disk(self, path: Path) -> Path:
        """Where the test finds a file of the processes'."""
        return path

    # --- processes

    def start(self, *names: str) -> None:
        """Start processes by name; one that the test has ended may be started again."""
        self.stack.start_processes(names)

    def succeeded(self, task: str) -> int:
        """How many messages of a task its workers have ended without an error."""
        line = re.compile(rf'"event": "Task {re.escape(task)}\[[^"]*succeeded')
        return sum(len(line.findall(self.log(name))) for name in self.names())

    def log(self, name: str) -> str:
        """All that a process has logged."""
        return (self.stack.data_dir / f"{name}.log").read_text("utf-8", "replace")

    def lines(self, name: str) -> list[dict[str, Any]]:
        """What a process has logged, without what Celery says past any logger."""
        whole = self.log(name).split("\n")[:-1]
        return [json.loads(line) for line in whole if line[:1] == "{"]

    def names(self) -> set[str]:
        """The processes that were started."""
        return {process.name for process in self.stack.processes}

    def process(self, name: str) -> Process:
        """The newest process of that name."""
        return next(found for found in reversed(self.stack.processes) if found.name == name)

    def pool_child(self, name: str = "gpu-worker") -> psutil.Process:
        """The child of a worker that runs its tasks."""

        def only() -> psutil.Process | None:
            children = psutil.Process(self.process(name).child.pid).children()
            return children[0] if len(children) == 1 else None

        return until(f"{name} has its pool", only)

    def trainer(self) -> psutil.Process | None:
        """The trainer process, where one lives."""
        return next(iter(self.trainers()), None)

    def trainers(self) -> list[psutil.Process]:
        """Those that live: one, but for a moment."""
        return [p for p in self.family() if "babylon_tasks.training.trainer" in _command(p)]

    def family(self) -> list[psutil.Process]:
        """Every process that was started for this stack, by whomever, and lives."""
        # The trainer is given no setting by its environment; it works in the data folder.
        ours = str(self.stack.settings.data_dir)
        return [
            process
            for process in psutil.process_iter()
            if _environ(process).get("BABYLON_DATA_DIR") == ours or _folder(process) == ours
        ]

    def kill(self, name: str, *, group: bool = True) -> None:
        """SIGKILL to a process: with all its children, and the trainer for a GPU worker, or alone.

        What the group left behind is asserted to be gone.
        """
        process = self.process(name)
        self.down.append(process)
        trainer = self.trainer() if group and name == "gpu-worker" else None
        if group:
            os.killpg(process.child.pid, signal.SIGKILL)
        else:
            process.child.kill()
        if trainer is not None:
            with suppress(psutil.NoSuchProcess):
                trainer.kill()
        process.child.wait(60)

    def terminate(self, name: str) -> Process:
        """SIGTERM to a process, as an orchestrator sends it; does not wait."""
        process = self.process(name)
        self.down.append(process)
        process.child.send_signal(signal.SIGTERM)
        return process

    def _alive(self) -> bool:
        for process in self.stack.processes:
            if process not in self.down:
                code = process.child.poll()
                assert code is None, f"{process.name} ended by itself with code {code}"
        return True

    # --- the end

    def logs(self) -> Iterator[tuple[str, str]]:
        """The end of each log."""
        trainer_log = self.on_disk(self.stack.settings.data_dir / "trainer.log")
        for path in [*sorted(self.stack.data_dir.glob("*.log")), trainer_log]:
            if path.exists():
                lines = path.read_text("utf-8", "replace").splitlines()
                yield path.name, "\n".join(lines[-_TAIL:])

    def close(self) -> None:
        """Stop everything; fails if a process outlives that."""
        started = self.family()
        try:
            self.stack.stop()
            until("every process of the stack has ended", lambda: not self.family(), 60)
        finally:
            for process in {*started, *self.family()}:
                with suppress(psutil.NoSuchProcess):
                    process.kill()


def sender(settings: Settings) -> Celery:
    """An application of our configuration that can send; it belongs to no process of ours."""
    app = Celery("sender", set_as_current=False)
    app.conf.update(configuration(settings))
    return app


def queued(client: redis.Redis, queue: str) -> list[bytes]:
    """The messages that wait in a queue."""
    return list(client.lrange(KEY_PREFIX + queue, 0, -1))  # type: ignore[arg-type]


def _environ(process: psutil.Process) -> dict[str, str]:
    try:
        return process.environ() if process.status() != psutil.STATUS_ZOMBIE else {}
    except (psutil.NoSuchProcess, psutil.AccessDenied):
        return {}


def _folder(process: psutil.Process) -> str | None:
    try:
        return process.cwd() if process.status() != psutil.STATUS_ZOMBIE else None
    except (psutil.NoSuchProcess, psutil.AccessDenied):
        return None


def _command(process: psutil.Process) -> list[str]:
    try:
        return process.cmdline()
    except psutil.NoSuchProcess:
        return []


def _trains(progress: dict[str, Any] | None) -> bool:
    """Whether a step has come to its gradient steps: before them its calls are counted."""
    return progress is not None and progress["counted"] == GRADIENT_STEPS and progress["done"] > 0
