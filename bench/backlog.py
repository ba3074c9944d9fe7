"""Drain backlogs of small hours: ``python -m bench.backlog --hours 100 300 900``.

Each is in a database of its own, of one embedded Postgres, and is opened and sealed as upkeep does
it, call after call; then a worker's next window is picked and scored, in turn from each, so that a
slow moment of the machine strikes all. Scored hours stay and wait for a step. Prints for each
window transactions and CPU milliseconds of sealing, of the scoring process and of Postgres's
sessions, the largest backlog as a multiple of the smallest, and the exponent: 0 where a window
costs the same however many wait. Celery and Redis are in ``bench.drain``.
"""

from __future__ import annotations

import argparse
import sys
import tempfile
import time
from pathlib import Path
from statistics import fmean

import psutil
import psycopg
from pydantic import SecretStr

from babylon_tasks import log
from babylon_tasks.db import due_windows
from babylon_tasks.db.babylon import create
from babylon_tasks.db.kept_connections import kept
from babylon_tasks.db.migrate import apply
from babylon_tasks.db.session import session
from babylon_tasks.pipeline.discover import discover
from babylon_tasks.pipeline.score import score_window
from babylon_tasks.sandbox.servers import EmbeddedPostgres
from babylon_tasks.settings import Settings
from babylon_tasks.windows import WINDOW, window_id, window_start
from bench.growth import SIZES, curve

ROOT = Path(__file__).resolve().parent.parent
sys.path.insert(0, str(ROOT / "tests"))
from factories import EVER, exact_call, insert_trajectories, step, trajectory  # noqa: E402

FIRST = "2024-06-01T00:00"
TURNS = 10
FILLED = 500  # hours inserted at once


def fill(settings: Settings, hours: int) -> None:
    """Create the tables and the hours, two trajectories each."""
    create(settings)
    apply(settings)
    names = [window_id(window_start(FIRST) + n * WINDOW) for n in range(hours)]
    with psycopg.connect(settings.database_url.get_secret_value(), autocommit=True) as connection:
        for first in range(0, hours, FILLED):
            rows = []
            for hour in names[first : first + FILLED]:
                for agent in range(2):
                    steps = [step(0, [exact_call("YES" if agent else "NO")], window=hour)]
                    rows.append(trajectory(hour, f"agent-{agent}", steps, final_pnl=100.0 * agent))
            insert_trajectories(connection, rows)


class Backlog:
    """The hours of one database, and what scoring them has used."""

    def __init__(self, server: EmbeddedPostgres, name: str, hours: int) -> None:
        with psycopg.connect(server.url, autocommit=True) as connection:
            connection.execute(f"CREATE DATABASE {name}".encode())
        self.name, self.hours = name, hours
        self.settings = Settings(
            database_url=SecretStr(server.database(name)),
            lookback_hours=int(EVER),
            grace_seconds=0,
            held_out_share=0,
            log_level="ERROR",
        )
        fill(self.settings, hours)
        self.watch = psycopg.connect(server.database(name), autocommit=True)
        self.used: list[dict[str, float]] = []
        self.sealing = 0.0  # seconds a window

    def seal(self) -> None:
        """Open and seal all hours, as beat's task does; then each waits without a message."""
        before, calls = time.process_time(), 1
        while discover(self.settings, actor="bench").more:
            calls += 1
        self.sealing = (time.process_time() - before) / self.hours
        print(f"{self.hours} hours sealed by {calls} calls in a row", flush=True)
        self.watch.execute("UPDATE training.windows SET enqueued_at = NULL")
        self.watch.execute("VACUUM ANALYZE training.windows")

    def score(self, count: int, *, measured: bool) -> None:
        """Score the next windows, as a worker takes them."""
        for _ in range(count):
            server, client = self.server_seconds(), time.process_time()
            with session(self.settings) as connection, connection.transaction():
                (window,) = due_windows.pick_to_score(connection, self.settings, limit=1)
            scoring = score_window(self.settings, window, actor="bench")
            assert scoring.claimed, scoring
            client = time.process_time() - client
            if measured:
                server = self.server_seconds() - server
                self.used.append({"server": server, "client": client})

    def server_seconds(self) -> float:
        """Return what Postgres has used for this database's sessions, which are kept meanwhile."""
        # Not what autovacuum and the writers do: it may fall into the other backlog's turn.
        pids = self.watch.execute(
            "SELECT pid FROM pg_stat_activity WHERE datname = current_database() "
            "AND backend_type = 'client backend' AND pid <> pg_backend_pid()"
        ).fetchall()
        return sum(sum(psutil.Process(pid).cpu_times()[:2]) for (pid,) in pids)

    def transactions(self) -> int:
        """Return how many there were; sessions report theirs when they end."""
        row = self.watch.execute(
            "SELECT xact_commit FROM pg_stat_database WHERE datname = current_database()"
        ).fetchone()
        assert row is not None
        return int(row[0])

    def mean(self, name: str) -> float:
        """Return the mean for each measured window."""
        return fmean(row[name] for row in self.used)


def main() -> None:
    """Fill, seal, score in turns, print."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--hours", type=int, nargs="+", default=[100, 300, 900])
    hours = sorted(set(parser.parse_args().hours))
    measured = hours[0] // TURNS
    if measured < 2 or len(hours) < SIZES:
        parser.error(f"--hours takes {SIZES} numbers or more, each at least {2 * TURNS}")
    with tempfile.TemporaryDirectory(prefix="babylon-bench-") as folder:
        Path(folder).chmod(0o711)
        with EmbeddedPostgres(Path(folder) / "postgres", durable=False) as server:
            backlogs = [Backlog(server, f"of_{count}", count) for count in hours]
            log.configure(backlogs[0].settings)
            for backlog in backlogs:
                backlog.seal()
            kept.close()
            begun = [backlog.transactions() for backlog in backlogs]
            for _ in range(TURNS):
                for backlog in backlogs:
                    # The first ones after the other's turn open connections.
                    backlog.score(backlog.hours // TURNS - measured + 1, measured=False)
                    backlog.score(measured - 1, measured=True)
            kept.close()
            time.sleep(1)  # the sessions end
            transactions = [
                (backlog.transactions() - before) / backlog.hours
                for backlog, before in zip(backlogs, begun, strict=True)
            ]
            for backlog in backlogs:
                backlog.watch.close()
    print("a window, by how many wait:")
    print(curve("transactions", hours, transactions))
    print(curve("sealing, CPU", hours, [1000 * one.sealing for one in backlogs], " ms"))
    for name, what in (("client", "scoring, CPU"), ("server", "scoring, Postgres's CPU")):
        print(curve(what, hours, [1000 * one.mean(name) for one in backlogs], " ms"))
    both = [1000 * (one.mean("client") + one.mean("server")) for one in backlogs]
    print(curve("scoring, both", hours, both, " ms"))


if __name__ == "__main__":
    main()
