"""An older checkout and this one side by side, each with a Postgres and processes of its own."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from contextlib import ExitStack
from pathlib import Path
from types import TracebackType
from typing import Any, NamedTuple

import psycopg

from babylon_tasks.sandbox.servers import EmbeddedPostgres
from bench.postgres_cpu import cpu_of

ROOT = Path(__file__).resolve().parent.parent
# The same for both, by names that both know or ignore.
ENVIRONMENT = {
    "BABYLON_LOG_LEVEL": "ERROR",
    "BABYLON_GRACE_SECONDS": "0",
    "BABYLON_HELD_OUT_SHARE": "0",
    "BABYLON_OUTCOME_WAIT_HOURS": "0",
    "BABYLON_BACKEND": "cpu",
    "BABYLON_TORCH_DEVICE": "cpu",
    "BABYLON_INFERENCE_PORT": "0",
    "BABYLON_PROMOTION_MODE": "manual",
    "BABYLON_MAX_WINDOWS_PER_STEP": "1",
    "BABYLON_STEP_TOKEN_BUDGET": "1000000000",
    "BABYLON_MAX_STALENESS_STEPS": "1000",
}


class Used(NamedTuple):
    """What following an order took: CPU seconds here and of Postgres; the process's peak so far."""

    cpu: float
    server: float
    peak_mb: float


class Side:
    """One checkout; use in an ``ExitStack``, which ends what it starts."""

    def __init__(self, name: str, tree: Path, folder: Path, stack: ExitStack) -> None:
        folder.mkdir()
        self.name, self.tree, self.folder = name, tree, folder
        self.postgres = stack.enter_context(EmbeddedPostgres(folder / "pg", durable=False))
        with psycopg.connect(self.postgres.url, autocommit=True) as connection:
            # Its work would fall on one side's turn.
            connection.execute("ALTER SYSTEM SET autovacuum = off")
            connection.execute("SELECT pg_reload_conf()")

    def database(self, name: str) -> Database:
        """Create a database with the tables of this checkout."""
        with psycopg.connect(self.postgres.url, autocommit=True) as connection:
            connection.execute(f"CREATE DATABASE {name}".encode())
        made = Database(self, name)
        with made.process() as process:
            process.does("create")
        return made


class Database:
    """A database of one side."""

    def __init__(self, side: Side, name: str) -> None:
        self.side, self.name = side, name
        self.url = side.postgres.database(name)

    def process(self, **environment: str) -> Process:
        """Start a process of this side's checkout on this database."""
        return Process(self, environment)

    def connect(self) -> psycopg.Connection[Any]:
        """Connect, to commit by itself."""
        return psycopg.connect(self.url, autocommit=True)

    def blocks(self) -> int:
        """Return how many blocks the sessions that have ended have read."""
        with psycopg.connect(self.side.postgres.url) as connection:
            row = connection.execute(
                "SELECT blks_hit + blks_read FROM pg_stat_database WHERE datname = %s", (self.name,)
            ).fetchone()
        assert row is not None
        return int(row[0])


class Process:
    """Runs ``bench/before_after_side.py`` of one side; use as a context manager."""

    def __init__(self, database: Database, environment: dict[str, str]) -> None:
        side = database.side
        self.database = database
        self._process = subprocess.Popen(
            [sys.executable, "-P", str(ROOT / "bench" / "before_after_side.py")],
            env=os.environ
            | ENVIRONMENT
            | {
                "DATABASE_URL": database.url,
                "BABYLON_DATA_DIR": str(side.folder / database.name),
                "PYTHONPATH": os.pathsep.join(map(str, (side.tree, side.tree / "tests"))),
            }
            | environment,
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
        )

    def does(self, what: str, **given: Any) -> Used:
        """Let it do something."""
        assert self._process.stdin is not None
        assert self._process.stdout is not None
        before = cpu_of(self.database.side.postgres)
        print(json.dumps([what, given]), file=self._process.stdin, flush=True)
        line = self._process.stdout.readline()
        if not line:
            side, code = self.database.side, self._process.wait()
            raise SystemExit(f"{what} of {side.name} ({side.tree}): it ended with exit code {code}")
        cpu, peak = json.loads(line)
        return Used(cpu, cpu_of(self.database.side.postgres) - before, peak)

    def __enter__(self) -> Process:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self._process.communicate()  # ends its input, and waits


def checked_out(revision: str, folder: Path) -> Path:
    """Write the files of a commit of this repository into a folder."""
    tree = folder / revision
    tree.mkdir()
    archive = subprocess.run(
        ["git", "archive", revision], cwd=ROOT, check=True, stdout=subprocess.PIPE
    )
    subprocess.run(["tar", "-x", "-C", str(tree)], input=archive.stdout, check=True)
    return tree
