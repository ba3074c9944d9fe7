"""Drain a backlog with Celery's workers: ``python -m bench.drain --hours 300 --workers 1 2 4``.

The same backlog of small hours for each number of workers, in databases of one embedded Postgres
and one Redis: sealed, then one message for each worker, as if beat were gone; each scoring brings
the next. Measured between the first and the last tenth of the windows by Postgres's clock, so that
no process's start counts. Prints windows a second, CPU milliseconds of the workers and of Postgres
for each window, and the exponents by workers: 1 for windows a second where each has a core of its
own, 0 for the CPU of a window.
"""

from __future__ import annotations

import argparse
import os
import sys
import tempfile
import time
from pathlib import Path
from typing import NamedTuple

import psutil
import psycopg
from celery import Celery

from babylon_tasks.pipeline.discover import discover
from babylon_tasks.processes import APP
from babylon_tasks.sandbox.servers import EmbeddedPostgres, EmbeddedValkey
from babylon_tasks.sandbox.stack import Stack
from babylon_tasks.task_names import SCORE_WINDOW
from babylon_tasks.tasks.app import configuration
from bench.backlog import fill  # puts tests/ on the path
from bench.growth import SIZES, curve
from bench.other_work import OtherWork
from bench.postgres_cpu import cpu_of

from factories import EVER  # isort: skip

OPTIONS = {
    "BABYLON_GRACE_SECONDS": "0",
    "BABYLON_HELD_OUT_SHARE": "0",
    "BABYLON_LOOKBACK_HOURS": EVER,
    "BABYLON_LOG_LEVEL": "ERROR",
}
PATIENCE = 1800.0
AIM = 10_000 / 360  # windows a second of two workers on two cores


class Drained(NamedTuple):
    """How fast so many workers were; CPU in milliseconds a window."""

    workers: int
    a_second: float
    client: float
    server: float


def start_worker(stack: Stack, number: int) -> psutil.Process:
    """Start one that takes queue `cpu` alone, a window at a time."""
    options = ["--pool=prefork", "-c", "1", "-Q", "cpu", "-n", f"cpu{number}@%h"]
    command = [sys.executable, "-m", "celery", "--quiet", "-A", APP, "worker", *options]
    started = stack.start(f"cpu-{number}", [*command, "--without-gossip", "--without-mingle"])
    return psutil.Process(started.child.pid)


def used(workers: list[psutil.Process]) -> float:
    """Return the CPU seconds of the workers and of their children."""
    family = [one for worker in workers for one in (worker, *worker.children(recursive=True))]
    return sum(sum(one.cpu_times()[:2]) for one in family)


def drained(
    postgres: EmbeddedPostgres, redis: EmbeddedValkey, folder: Path, hours: int, workers: int
) -> Drained:
    """Fill a database and let so many workers drain it."""
    name = f"of_{workers}"
    with psycopg.connect(postgres.url, autocommit=True) as connection:
        connection.execute(f"CREATE DATABASE {name}".encode())
    place = {"database_url": postgres.database(name), "redis_url": redis.database(workers)}
    with (
        Stack(folder / name, options=OPTIONS, **place) as stack,
        psycopg.connect(place["database_url"], autocommit=True) as connection,
    ):
        fill(stack.settings, hours)
        while discover(stack.settings, actor="bench").more:
            pass
        connection.execute("UPDATE training.windows SET enqueued_at = NULL")
        connection.execute("VACUUM ANALYZE training.windows")

        def done() -> int:
            row = connection.execute(
                "SELECT count(*) FROM training.windows WHERE state = 'scored'"
            ).fetchone()
            return int(row[0]) if row else 0

        def await_done(count: int) -> None:
            deadline = time.monotonic() + PATIENCE
            while done() < count:
                stack.check()
                if time.monotonic() > deadline:
                    sys.exit(f"{done()} of {hours} windows were scored in {PATIENCE:.0f} s")
                time.sleep(0.05)

        running = [start_worker(stack, number) for number in range(workers)]
        app = Celery("bench", set_as_current=False)
        app.conf.update(configuration(stack.settings))
        _send(app, connection, workers)
        await_done(hours // 10)
        client, server = used(running), cpu_of(postgres)
        began = done()
        await_done(hours * 9 // 10)
        client, server = used(running) - client, cpu_of(postgres) - server
        count = done() - began
        seconds = _between(connection, hours // 10, hours * 9 // 10)
    return Drained(
        workers,
        (hours * 9 // 10 - hours // 10) / seconds,
        1000 * client / count,
        1000 * server / count,
    )


def _send(app: Celery, connection: psycopg.Connection, count: int) -> None:
    rows = connection.execute(
        "UPDATE training.windows SET enqueued_at = now() WHERE window_id IN (SELECT window_id "
        "FROM training.windows WHERE state = 'sealed' ORDER BY starts_at LIMIT %s) "
        "RETURNING window_id",
        (count,),
    ).fetchall()
    for row in rows:
        app.send_task(SCORE_WINDOW, row)


def _between(connection: psycopg.Connection, first: int, last: int) -> float:
    moments = connection.execute(
        "SELECT extract(epoch FROM scored_at)::float8 FROM training.windows "
        "WHERE scored_at IS NOT NULL ORDER BY scored_at"
    ).fetchall()
    return float(moments[last - 1][0] - moments[first - 1][0])


def main() -> None:
    """Drain by each number of workers, print."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--hours", type=int, default=300)
    parser.add_argument("--workers", type=int, nargs="+", default=[1, 2, 4])
    given = parser.parse_args()
    if given.hours < 20 or max(given.workers) > 15:
        parser.error("--hours must be at least 20, and --workers 15 at most")
    others, found = OtherWork(), []
    with tempfile.TemporaryDirectory(prefix="babylon-bench-") as name:
        folder = Path(name)
        folder.chmod(0o711)
        with (
            EmbeddedPostgres(folder / "postgres", durable=False) as postgres,
            EmbeddedValkey(folder / "valkey") as redis,
        ):
            for workers in sorted(set(given.workers)):
                one = drained(postgres, redis, folder, given.hours, workers)
                found.append(one)
                print(
                    f"  {workers} workers: {one.a_second:5.1f} windows a second, a window "
                    f"{one.client:.1f} ms of CPU, {one.server:.1f} of Postgres",
                    flush=True,
                )
    print(f"by workers on {os.cpu_count()} cores; {others}")
    workers = [one.workers for one in found]
    if len(found) >= SIZES:
        for what, costs, unit in (
            ("windows a second", [one.a_second for one in found], ""),
            ("a window's CPU", [one.client for one in found], " ms"),
            ("a window's CPU in Postgres", [one.server for one in found], " ms"),
        ):
            print(curve(what, workers, costs, unit))
    for one in found:
        cores = min(one.workers, os.cpu_count() or 1)
        by_cpu = 1000 * cores / (one.client + one.server)
        print(
            f"  {one.workers} workers / aim of {AIM:.0f} a second (10,000 in 6 minutes): "
            f"{one.a_second / AIM:.2f} as measured, {by_cpu / AIM:.2f} by CPU alone"
        )


if __name__ == "__main__":
    main()
