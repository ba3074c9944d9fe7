"""What a window costs, by its age and the size of the database: ``python -m bench.big_database``.

Makes databases of one embedded Postgres, of 1/10, 1/3 and all of ``--trajectories`` (83 an hour,
33 outcomes and 0.83 steps an hour besides). In each, all that runs each minute or for each window,
and the commands that read, run in this process: blocks read (by ``auto_explain``), milliseconds,
CPU of Postgres and of the client. The exponent is the slope of a cost over size, both as
logarithms: 0 is flat, 1 is linear. ``--small``: small sizes, in under a minute.
"""

from __future__ import annotations

import argparse
import shutil
import tempfile
import time
from collections import defaultdict
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from statistics import median

import psutil
import psycopg
from msgspec import Struct
from pydantic import SecretStr

from babylon_tasks import log
from babylon_tasks.db.kept_connections import kept
from babylon_tasks.sandbox.servers import EmbeddedPostgres
from babylon_tasks.settings import Settings
from bench.big_actions import Action, actions, actions_with_index
from bench.big_rows import AGES, Filled, Size, fill, index_unnamed, sized, table_sizes
from bench.growth import curve, exponent
from bench.statement_costs import Log, Statement, explained, table_rows

BYTES_EACH = 6000  # of disk that a trajectory takes with all that comes of it
SHARES = (10, 3, 1)
SMALL = 24_000
SMALL_SHARES = (4, 2, 1)
REPEATED = 3
OURS = ("scores", "rejections", "consumption", "bets", "events", "outcomes", "windows", "steps")
COUNTED = ("evaluations", "promotions", "window_figures", "checkpoints")


class Cost(Struct, frozen=True):
    """What one action took; ``server`` and ``client`` are milliseconds of CPU."""

    blocks: int
    ms: float
    server: float
    client: float
    statements: tuple[Statement, ...]


class Database:
    """One size, filled, and what its actions cost."""

    def __init__(self, server: EmbeddedPostgres, size: Size) -> None:
        name = f"big_{size.trajectories}"
        with psycopg.connect(server.url, autocommit=True) as connection:
            connection.execute(f"CREATE DATABASE {name}".encode())
        self.size = size
        self.settings = Settings(
            database_url=SecretStr(server.database(name)),
            grace_seconds=0,
            log_level="ERROR",
            max_staleness_hours=1_000_000,
            data_dir=server.home / "data",
            learning_rate=1e-4,
        )
        began = time.perf_counter()
        self.filled: Filled = fill(self.settings, size)
        self.watch = psycopg.connect(server.database(name), autocommit=True)
        row = self.watch.execute("SELECT pg_database_size(current_database())").fetchone()
        assert row is not None
        print(
            f"{size.trajectories} trajectories, {size.hours} hours, {size.steps} steps: "
            f"{row[0] / 1e9:.2f} GB, made in {time.perf_counter() - began:.0f} s",
            flush=True,
        )
        self._log = Log(server.home / "postgres.log", table_rows(self.watch))
        self.costs: dict[str, Cost] = {}

    def measure(self, name: str, act: Action, times: int) -> None:
        """Run an action: once for its blocks, after a first one, then for its time."""
        act(self.settings, 0)
        self._log.read()
        act(explained(self.settings), 1)
        kept.close()
        statements = self._log.read()
        act(self.settings, 2)  # opens connections again
        taken = []
        for number in range(times):
            server, client, begun = self._server(), time.process_time(), time.perf_counter()
            act(self.settings, 3 + number)
            ms = time.perf_counter() - begun
            taken.append((ms, self._server() - server, time.process_time() - client))
        ms, server, client = (1000 * median(column) for column in zip(*taken, strict=True))
        blocks = sum(one.blocks for one in statements)
        self.costs[name] = Cost(blocks, ms, server, client, tuple(statements))

    def _server(self) -> float:
        pids = self.watch.execute(
            "SELECT pid FROM pg_stat_activity WHERE datname = current_database() "
            "AND backend_type IN ('client backend', 'parallel worker') AND pid <> pg_backend_pid()"
        ).fetchall()
        return float(sum(sum(psutil.Process(pid).cpu_times()[:2]) for (pid,) in pids))


def slope(sizes: Sequence[int], costs: Sequence[float]) -> float:
    """Return the exponent of a cost, of which nothing at all counts as next to nothing."""
    return exponent(sizes, [max(cost, 0.01) for cost in costs])


def report(databases: Sequence[Database], *, scans: bool) -> None:
    """Print each action by size, then the statements that grow, then bytes."""
    sizes = [one.size.trajectories for one in databases]
    print(
        f"\n| action | blocks at {' / '.join(f'{s:,}' for s in sizes)} | exponent "
        "| ms | exponent | ms of CPU: Postgres | client |"
    )
    print("|---|---|---|---|---|---|---|")
    for name in databases[0].costs:
        costs = [one.costs[name] for one in databases]
        cells = [
            " / ".join(f"{c.blocks:,}" for c in costs),
            f"{slope(sizes, [c.blocks for c in costs]):.2f}",
            " / ".join(f"{c.ms:,.1f}" for c in costs),
            f"{slope(sizes, [c.ms for c in costs]):.2f}",
            " / ".join(f"{c.server:,.0f}" for c in costs),
            " / ".join(f"{c.client:,.0f}" for c in costs),
        ]
        print(f"| {name} | {' | '.join(cells)} |")
    by_age(databases[-1])
    print("\nstatements whose blocks grow with the size (exponent above 0.3, 50 blocks or more):\n")
    by_size = [by_statement(one) for one in databases]
    for key in by_size[-1]:
        blocks = [found[key].blocks if key in found else 0 for found in by_size]
        growth = slope(sizes, blocks)
        if blocks[-1] >= 50 and growth > 0.3:
            last = by_size[-1][key]
            read = f"; reads most of {', '.join(last.whole)}" if scans and last.whole else ""
            print(f"- {key[0]}: {key[1]}: {blocks}, exponent {growth:.2f}, {last.ms:.1f} ms{read}")
    grown(databases[-1])


def by_age(database: Database) -> None:
    """Print what an hour costs by the hours since, in one database."""
    ages = AGES[::-1]
    ago = [database.filled.hours_ago(age) for age in ages]
    print("\nof the largest, by the hours since, from the oldest to the newest:")
    for name in database.costs:
        if ages[0] in name:
            blocks = [database.costs[name.replace(ages[0], age)].blocks for age in ages]
            print(curve(name.replace(f", {ages[0]}", "") + ", blocks", ago, blocks))


def by_statement(database: Database) -> dict[tuple[str, str], Statement]:
    """Add up the runs of each statement in each action."""
    found: dict[tuple[str, str], list[Statement]] = defaultdict(list)
    for action, cost in database.costs.items():
        for one in cost.statements:
            found[action, one.name].append(one)
    return {
        key: Statement(
            key[1],
            sum(run.ms for run in runs),
            sum(run.blocks for run in runs),
            tuple(sorted({name for run in runs for name in run.whole})),
        )
        for key, runs in found.items()
    }


def grown(database: Database) -> None:
    """Print what is written for each trajectory, in bytes."""
    tables = [f"training.{name}" for name in (*OURS, *COUNTED)]
    print(
        "\n| table | rows a trajectory | bytes a trajectory | of its indexes |\n|---|---|---|---|"
    )
    every = database.filled.size.each * database.filled.size.hours
    total = 0.0
    for name, rows, size, indexes in table_sizes(database.watch, tables):
        total += (size + indexes) / every
        print(f"| {name} | {rows / every:.3f} | {size / every:.1f} | {indexes / every:.1f} |")
    print(f"| together | | {total:.0f} | |")


@contextmanager
def running() -> Iterator[EmbeddedPostgres]:
    """Start a Postgres in a folder that goes when the block ends."""
    with tempfile.TemporaryDirectory(prefix="babylon-bench-") as folder:
        Path(folder).chmod(0o711)
        with EmbeddedPostgres(Path(folder) / "postgres", durable=False) as server:
            yield server


def main(argv: Sequence[str] | None = None) -> None:
    """Build, measure, print."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--trajectories", type=int, default=100_000, help="of the largest")
    parser.add_argument("--small", action="store_true", help="small sizes")
    parser.add_argument("--statements", action="store_true", help="name what is read whole")
    asked = parser.parse_args(argv)
    largest, shares = (SMALL, SMALL_SHARES) if asked.small else (asked.trajectories, SHARES)
    sizes = [sized(largest // share) for share in shares]
    needed = BYTES_EACH * sum(size.trajectories for size in sizes)
    free = min(
        shutil.disk_usage(tempfile.gettempdir()).free, 100 * psutil.virtual_memory().available
    )
    if needed > free / 2:
        parser.error(f"it takes {needed / 1e9:.0f} GB of disk, and {free / 1e9:.0f} are free")
    with running() as server:
        databases = [Database(server, size) for size in sizes]
        log.configure(databases[0].settings)
        for database in databases:
            for name, act in actions(database.filled):
                database.measure(name, act, REPEATED)
            index_unnamed(database.watch)
            for name, act in actions_with_index(database.filled):
                database.measure(name, act, REPEATED)
            kept.close()
        report(databases, scans=asked.statements)
        for database in databases:
            database.watch.close()


if __name__ == "__main__":
    main()
