"""How many trajectories a second one process records: ``python -m bench.recorder``.

Into an idle Postgres that waits for its disk. By turns with it, over the same rows of both tables:
``plain``, each trajectory inserted in a transaction of its own by one connection, as 0.1.0 did; and
``raw``, one COPY, the least that Postgres takes. Printed are trajectories a second, CPU of this
process and of Postgres for each, and the ratios, for trajectories of three agent steps; what their
CPU would allow where either has a core of its own, whatever else this machine does; then the cost
by the bytes of a trajectory. Ends with an error where one was dropped or refused.
"""

from __future__ import annotations

import argparse
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from statistics import median
from typing import Any, NamedTuple

import psycopg
from psycopg import sql
from pydantic import SecretStr

from babylon_tasks import log
from babylon_tasks.agent_settings import DatabaseSettings
from babylon_tasks.db.babylon import create
from babylon_tasks.recorder import Recorder
from babylon_tasks.sandbox.servers import EmbeddedPostgres
from babylon_tasks.settings import Settings
from bench.growth import curve
from bench.other_work import OtherWork
from bench.postgres_cpu import cpu_of

WINDOW = "2026-01-31T09:00"
STEPS = (3, 12, 48)
ROUNDS = 3
BATCH = 100
PATIENCE = 600.0
TABLES = ("trajectories", "llm_call_logs")
AIM = 2000  # trajectories of three steps a second
SYSTEM = "You trade on prediction markets. Answer with one action as JSON, and nothing else. " * 2
PROMPT = "Will ACME close higher today? YES costs 0.47 and NO costs 0.53. " * 6
MESSAGES = [{"role": "system", "content": SYSTEM}, {"role": "user", "content": PROMPT}]


class Took(NamedTuple):
    """What writing so many trajectories took; CPU seconds of this process and of Postgres."""

    count: int
    seconds: float
    client: float
    server: float

    @property
    def a_second(self) -> float:
        """Trajectories a second, by the wall clock."""
        return self.count / self.seconds


def play(recorder: Recorder, steps: int, number: int) -> None:
    """Record one trajectory, as an agent does."""
    with recorder.record(f"agent-{number % 50}", window=WINDOW) as trajectory:
        for place in range(steps):
            step = trajectory.step(balance=1000.0, pnl=float(place))
            step.llm_call(
                messages=MESSAGES,
                response='{"action": "buy_yes", "market": "m-1", "amount": 40}',
                model="babylon@3",
                temperature=1.0,
                max_tokens=300,
            )
            step.action("BUY_SHARES", {"marketId": "m-1", "side": "YES"}, success=True)


class Scene:
    """The database, and how each side writes to it."""

    def __init__(self, server: EmbeddedPostgres) -> None:
        self._server = server
        self.url = server.url
        self.settings = DatabaseSettings(database_url=SecretStr(server.url))

    def measured(self, count: int, write: Callable[[], Any]) -> Took:
        """Measure one writing of so many, from an empty table."""
        with psycopg.connect(self.url, autocommit=True) as connection:
            connection.execute("TRUNCATE trajectories, llm_call_logs")
            connection.execute("CHECKPOINT")
        server, client, began = cpu_of(self._server), time.process_time(), time.perf_counter()
        write()
        seconds = time.perf_counter() - began
        took = Took(count, seconds, time.process_time() - client, cpu_of(self._server) - server)
        with psycopg.connect(self.url) as connection:
            row = connection.execute("SELECT count(*) FROM trajectories").fetchone()
        if row != (count,):
            sys.exit(f"{row} trajectories are in Postgres, not {count}")
        return took

    def recorded(self, count: int, steps: int) -> Took:
        """Play and record from this process; all that waits may wait."""

        def write() -> None:
            with Recorder(self.settings, capacity=count, capacity_bytes=2**40) as recorder:
                for number in range(count):
                    play(recorder, steps, number)
                recorder.flush(PATIENCE)
            if recorder.dropped or recorder.failed:
                sys.exit(f"{recorder.dropped} were dropped and {recorder.failed} refused")

        return self.measured(count, write)

    def copied(self) -> tuple[dict[str, bytes], dict[str, list[tuple[Any, ...]]]]:
        """Read what was recorded last: as COPY writes it, and as rows."""
        raw, rows = {}, {}
        with psycopg.connect(self.url) as connection:
            for table in TABLES:
                name = sql.Identifier(table)
                with connection.cursor().copy(sql.SQL("COPY {} TO STDOUT").format(name)) as copy:
                    raw[table] = b"".join(bytes(part) for part in copy)
                found = connection.execute(sql.SQL("SELECT * FROM {}").format(name))
                rows[table] = found.fetchall()
        return raw, rows

    def raw(self, count: int, texts: dict[str, bytes]) -> Took:
        """Write the same by COPY."""

        def write() -> None:
            with psycopg.connect(self.url) as connection:
                for table, text in texts.items():
                    into = sql.SQL("COPY {} FROM STDIN").format(sql.Identifier(table))
                    with connection.cursor().copy(into) as copy:
                        copy.write(text)

        return self.measured(count, write)

    def plain(self, count: int, rows: dict[str, list[tuple[Any, ...]]]) -> Took:
        """Write the same, each trajectory and its calls in a transaction of its own."""
        trajectories, calls = (rows[table] for table in TABLES)
        each = len(calls) // len(trajectories)
        inserts = [
            sql.SQL("INSERT INTO {} VALUES ({})").format(
                sql.Identifier(table), sql.SQL(", ").join([sql.Placeholder()] * len(found[0]))
            )
            for table, found in rows.items()
        ]

        def write() -> None:
            with psycopg.connect(self.url) as connection:
                for number, trajectory in enumerate(trajectories):
                    connection.execute(inserts[0], trajectory)
                    for call in calls[number * each : (number + 1) * each]:
                        connection.execute(inserts[1], call)
                    connection.commit()

        return self.measured(count, write)


def main() -> None:
    """Record, write the same otherwise, print."""
    sys.setswitchinterval(0.005)  # the interpreter's own, as an agent's process has it
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--trajectories", type=int, default=2000)
    count = parser.parse_args().trajectories
    others = OtherWork()
    took: dict[str, list[Took]] = {"recorder": [], "plain": [], "raw": []}
    by_steps: list[list[Took]] = [[] for _ in STEPS]
    kilobytes: list[float] = []
    with tempfile.TemporaryDirectory(prefix="babylon-bench-") as folder:
        Path(folder).chmod(0o711)
        with EmbeddedPostgres(Path(folder) / "postgres") as server:
            settings = Settings(database_url=SecretStr(server.url), log_level="ERROR")
            log.configure(settings)
            create(settings)
            scene = Scene(server)
            scene.recorded(BATCH, STEPS[0])  # imports, and Postgres's own caches
            for number in range(ROUNDS):
                took["recorder"].append(scene.recorded(count, STEPS[0]))
                raw, rows = scene.copied()
                took["plain"].append(scene.plain(count, rows))
                took["raw"].append(scene.raw(count, raw))
                for steps, found in zip(STEPS, by_steps, strict=True):
                    found.append(scene.recorded(count // steps, steps))
                    if not number:
                        size = sum(map(len, scene.copied()[0].values()))
                        kilobytes.append(size / (count // steps) / 1000)
    print(f"{count} trajectories of {STEPS[0]} steps, {kilobytes[0]:.1f} kB of rows; {others}")
    for name, found in took.items():
        client = median(one.client for one in found) / count * 1e6
        postgres = median(one.server for one in found) / count * 1e6
        print(
            f"  {name:9} {median(one.a_second for one in found):7.0f} a second; "
            f"{client:5.0f} us of CPU each, {postgres:5.0f} of Postgres"
        )
    for name in ("plain", "raw"):
        pairs = list(zip(took["recorder"], took[name], strict=True))
        speed = median(one.a_second / other.a_second for one, other in pairs)
        print(f"  recorder / {name}: {speed:.2f} times as many a second")
    ours = took["recorder"]
    for what, reached in (
        ("as measured", median(one.a_second for one in ours)),
        ("by CPU", median(one.count / max(one.client, one.server) for one in ours)),
    ):
        print(f"  {what} {reached:.0f} a second / aim of {AIM}: {reached / AIM:.2f}")
    print("by kilobytes of a trajectory, rounded:")
    for what, costs in (
        ("CPU of the process", [median(1e3 * t.client / t.count for t in f) for f in by_steps]),
        ("CPU of Postgres", [median(1e3 * t.server / t.count for t in f) for f in by_steps]),
    ):
        print(curve(what, kilobytes, costs, " ms"))


if __name__ == "__main__":
    main()
