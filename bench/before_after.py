"""Pair this checkout with an older one: ``python -m bench.before_after --old WORKTREE``.

For the table before and after: what both can do is done by each in turn, in a process and a
Postgres of its own, with the same rows. Compared are CPU seconds of the process and of its
Postgres, which a busy machine hardly changes; printed are medians over the rounds, and the median
of the ratios of each round. 0.1.0 is the last commit of 23 November 2026, 2bea01b3: it has neither
gateway nor inspection, so these have no before.
"""

from __future__ import annotations

import argparse
import json
import os
import random
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, replace
from pathlib import Path
from statistics import median

import psycopg
from psycopg import sql

from babylon_tasks.sandbox.servers import EmbeddedPostgres
from bench.postgres_cpu import cpu_of
from bench.recorded_rows import COLUMNS, KINDS, MARKETS, Kind

ROOT = Path(__file__).resolve().parent.parent
TWO = 2  # rows of a window of a backlog
_SEALED = """
INSERT INTO training.windows (window_id, starts_at, held_out, state, trajectories)
SELECT %(window)s::text, (%(window)s::text || ':00+00')::timestamptz, false, 'sealed', %(rows)s
"""
_EMPTIED = (
    "SELECT tablename FROM pg_tables WHERE schemaname = 'training' "
    "AND tablename IN ('scores', 'rejections', 'bets', 'windows')"
)


@dataclass(frozen=True)
class Task:
    """What both sides do: ``what`` of ``bench.before_after_side``, on so many pieces."""

    name: str
    what: str
    kinds: tuple[Kind, ...] = ()
    pieces: int = 0

    @property
    def order(self) -> str:
        windows = [kind.window for kind in self.kinds]
        return json.dumps({"do": self.what, "windows": windows, "count": self.pieces})


def tasks(share: int) -> list[Task]:
    """List what is compared, with a ``share``-th of the rows of ``bench.score``."""
    # 0.1.0 refused objects of tokens: there is no before of these.
    each = [replace(kind, rows=kind.rows // share) for kind in KINDS if kind.name != "objects"]
    small = KINDS[0]
    hours = tuple(
        replace(small, name=f"hour-{n}", window=f"2026-03-{1 + n // 24:02d}T{n % 24:02d}:00",
                rows=TWO)
        for n in range(60)
    )  # fmt: skip
    return [
        *(Task(f"a row scored: {kind.about}", "score", (kind,), kind.rows) for kind in each),
        Task(f"a window of {TWO} rows of a backlog", "score", hours, len(hours)),
        Task("a trajectory of 3 steps recorded", "record", pieces=400),
    ]


class Side:
    """A checkout with a process and a Postgres of its own."""

    def __init__(self, tree: Path, folder: Path, stack: ExitStack) -> None:
        folder.mkdir()
        self.postgres = stack.enter_context(EmbeddedPostgres(folder, durable=False))
        self.process = subprocess.Popen(
            [sys.executable, "-P", str(ROOT / "bench" / "before_after_side.py")],
            env=os.environ
            | {
                "DATABASE_URL": self.postgres.url,
                "BABYLON_LOG_LEVEL": "ERROR",
                "PYTHONPATH": str(tree),
            },
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
        )
        stack.callback(self.process.communicate)  # ends its input, and waits
        self.does('{"do": "create"}')

    def does(self, order: str) -> tuple[float, float]:
        """Let the process do something; returns its CPU seconds, and Postgres's."""
        assert self.process.stdin is not None
        assert self.process.stdout is not None
        before = cpu_of(self.postgres)
        print(order, file=self.process.stdin, flush=True)
        line = self.process.stdout.readline()
        if not line:
            raise SystemExit(f"{order[:60]}: it ended with exit code {self.process.wait()}")
        return float(line), cpu_of(self.postgres) - before

    @contextmanager
    def connection(self) -> Iterator[psycopg.Connection]:
        with psycopg.connect(self.postgres.url, autocommit=True) as connection:
            yield connection

    def fill(self, kinds: list[Kind]) -> None:
        with self.connection() as connection, connection.cursor() as cursor:
            for kind in kinds:
                with cursor.copy(f"COPY trajectories ({COLUMNS}) FROM STDIN") as copy:
                    for row in kind:
                        copy.write_row(row)
                for market in range(MARKETS):
                    ended = random.Random(market).choice(["YES", "NO"])
                    cursor.execute(
                        'INSERT INTO market_outcomes (id, "windowId", "predictionMarketId", '
                        "outcome) VALUES (%s, %s, %s, %s)",
                        (f"{kind.name}-{market}", kind.window, f"m-{market}", ended),
                    )
            cursor.execute("VACUUM (ANALYZE) trajectories")

    def seal(self, task: Task) -> None:
        with self.connection() as connection:
            connection.execute("SET session_replication_role = replica")
            names = connection.execute(_EMPTIED).fetchall()
            for (name,) in names:
                connection.execute(sql.SQL("DELETE FROM training.{}").format(sql.Identifier(name)))
            for kind in task.kinds:
                connection.execute(_SEALED, {"window": kind.window, "rows": kind.rows})


def main() -> None:
    """Let both sides do each task in turn, and print."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--old", type=Path, required=True, help="a worktree of the older commit")
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--share", type=int, default=4, help="of the rows of bench.score")
    given = parser.parse_args()
    print("| CPU of | before, µs | of Postgres | now, µs | of Postgres | before/now |")
    print("|---|---|---|---|---|---|", flush=True)
    with tempfile.TemporaryDirectory() as folder, ExitStack() as stack:
        trees = {"old": given.old.resolve(), "new": ROOT}
        sides = {name: Side(tree, Path(folder) / name, stack) for name, tree in trees.items()}
        every = tasks(given.share)
        for side in sides.values():
            side.fill([kind for task in every for kind in task.kinds])
        for task in every:
            took: dict[str, list[tuple[float, float]]] = {name: [] for name in sides}
            for number in range(given.rounds + 1):  # the first warms both
                for name, side in sides.items():
                    side.seal(task)
                    found = side.does(task.order)
                    if number:
                        took[name].append(found)
            cells = [
                f"{median(one[which] for one in took[name]) / task.pieces * 1e6:.0f}"
                for name in sides
                for which in (0, 1)
            ]
            ratio = median(sum(a) / sum(b) for a, b in zip(took["old"], took["new"], strict=True))
            print(f"| {task.name} | {' | '.join(cells)} | {ratio:.2f} |", flush=True)


if __name__ == "__main__":
    main()
