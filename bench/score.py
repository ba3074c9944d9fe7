"""Measure how fast windows are scored, by kind of row: ``python -m bench.score``.

Three readers of the same rows of one embedded Postgres take turns, each in a process of its own:
``score_window`` end to end; a plain reader of the first system's kind that computes and writes
nothing; a raw binary read. Compared are CPU seconds, which a busy machine hardly changes: of the
reader's process, and of Postgres beside it. Printed are medians over the rounds. ``--against
FOLDER`` pairs this checkout with another one. At last ``score_window`` alone scores windows of an
eighth, a quarter and half of the rows of a kind: the exponent is 1 where a row costs the same.
"""

from __future__ import annotations

import argparse
import json
import os
import random
import subprocess
import sys
import tempfile
from contextlib import ExitStack
from dataclasses import dataclass, replace
from pathlib import Path
from statistics import median
from types import TracebackType

import psycopg
from pydantic import SecretStr

from babylon_tasks.db.babylon import create
from babylon_tasks.db.migrate import apply
from babylon_tasks.sandbox.servers import EmbeddedPostgres
from babylon_tasks.settings import Settings
from bench.growth import curve
from bench.postgres_cpu import cpu_of
from bench.recorded_rows import COLUMNS, KINDS, MARKETS, Kind

ROOT = Path(__file__).resolve().parent.parent
PARTS = (8, 4, 2, 1)  # of a kind's rows, the windows of the curve
# What scoring a window leaves; without it the window can be scored again.
_ANEW = """
SET session_replication_role = replica;
DELETE FROM training.scores WHERE window_id = %(window)s;
DELETE FROM training.bets WHERE window_id = %(window)s;
DELETE FROM training.windows WHERE window_id = %(window)s;
INSERT INTO training.windows (window_id, starts_at, held_out, state, trajectories)
VALUES (%(window)s, (%(window)s || ':00+00')::timestamptz, false, 'sealed', %(rows)s)
"""


@dataclass(frozen=True)
class Took:
    """What one reading of a window took."""

    rows: int
    cpu: float
    server: float
    peak_mb: float

    @property
    def both(self) -> float:
        """CPU seconds of the reader and of Postgres."""
        return self.cpu + self.server


class Reader:
    """One of ``bench.score_reader`` in a process of its own; use as a context manager."""

    def __init__(self, name: str, postgres: EmbeddedPostgres, tree: Path = ROOT) -> None:
        self._postgres = postgres
        self._process = subprocess.Popen(
            # -P: the folder of the script has modules whose names others may use.
            [sys.executable, "-P", str(ROOT / "bench" / "score_reader.py"), name],
            env=os.environ
            | {
                "DATABASE_URL": postgres.url,
                "BABYLON_LOG_LEVEL": "ERROR",
                "PYTHONPATH": str(tree),
            },
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
        )

    def read(self, kind: Kind) -> Took:
        """Let it read the window of this kind."""
        assert self._process.stdin is not None
        assert self._process.stdout is not None
        before = cpu_of(self._postgres)
        print(kind.window, file=self._process.stdin, flush=True)
        line = self._process.stdout.readline()
        if not line:
            raise SystemExit(f"the reader ended with exit code {self._process.wait()}")
        found = Took(**json.loads(line), server=cpu_of(self._postgres) - before)
        assert found.rows == kind.rows, found
        return found

    def __enter__(self) -> Reader:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        assert self._process.stdin is not None
        self._process.stdin.close()
        self._process.wait()


def fill(url: str, kinds: list[Kind]) -> None:
    """Migrate; insert the rows of each kind and the outcomes of their markets."""
    settings = Settings(database_url=SecretStr(url))
    create(settings)
    apply(settings)
    with psycopg.connect(url, autocommit=True) as connection, connection.cursor() as cursor:
        for kind in kinds:
            with cursor.copy(f"COPY trajectories ({COLUMNS}) FROM STDIN") as copy:
                for row in kind:
                    copy.write_row(row)
            cursor.executemany(
                'INSERT INTO market_outcomes (id, "windowId", "predictionMarketId", outcome) '
                "VALUES (%s, %s, %s, %s)",
                [
                    (
                        f"{kind.name}-{market}",
                        kind.window,
                        f"m-{market}",
                        random.Random(market).choice(["YES", "NO"]),
                    )
                    for market in range(MARKETS)
                ],
            )
        cursor.execute("VACUUM (ANALYZE) trajectories")


def _seal(url: str, kind: Kind) -> None:
    with psycopg.connect(url, cursor_factory=psycopg.ClientCursor) as connection:
        connection.execute(_ANEW, {"window": kind.window, "rows": kind.rows})


def measure(kind: Kind, readers: dict[str, Reader], url: str, rounds: int) -> dict[str, list[Took]]:
    """Let the readers take turns; a round before the first warms them and the server."""
    took: dict[str, list[Took]] = {name: [] for name in readers}
    for number in range(rounds + 1):
        for name, reader in readers.items():
            if name.startswith("score"):
                _seal(url, kind)
            found = reader.read(kind)
            if number:
                took[name].append(found)
    return took


def _print(kind: Kind, took: dict[str, list[Took]], size: float) -> None:
    print(f"{kind.name}: {kind.about}, {size / 1000:.1f} kB; {kind.rows} rows")
    for name, found in took.items():
        cpu, server = median(t.cpu for t in found), median(t.server for t in found)
        print(
            f"  {name:12} {cpu / kind.rows * 1e6:8.1f} us of CPU a trajectory, "
            f"{server / kind.rows * 1e6:8.1f} of Postgres; "
            f"peak {max(t.peak_mb for t in found):.0f} MB"
        )
    for name, found in took.items():
        if name != "score":
            pairs = list(zip(found, took["score"], strict=True))
            alone = median(other.cpu / ours.cpu for other, ours in pairs)
            both = median(other.both / ours.both for other, ours in pairs)
            print(f"  {name} / score: {alone:.2f}; with Postgres {both:.2f}", flush=True)


def parts(kind: Kind, day: int) -> list[Kind]:
    """Make windows of this kind that have fewer of its rows, on a day of their own."""
    return [
        replace(
            kind,
            name=f"{kind.name}-of-{part}",
            window=f"2026-02-{day:02d}T{part:02d}:00",
            rows=kind.rows // part,
        )
        for part in PARTS
    ]


def _print_curve(kind: Kind, windows: list[Kind], postgres: EmbeddedPostgres, rounds: int) -> None:
    took: list[list[Took]] = [[] for _ in windows]
    with Reader("score", postgres) as reader:
        for number in range(rounds + 1):
            for window, found in zip(windows, took, strict=True):
                _seal(postgres.url, window)
                one = reader.read(window)
                if number:
                    found.append(one)
    rows = [window.rows for window in windows]
    for what, each in (
        ("CPU", [median(one.cpu for one in found) for found in took]),
        ("CPU with Postgres", [median(one.both for one in found) for found in took]),
    ):
        print(curve(f"{kind.name}, {what} by rows", rows, each, " s"), flush=True)


def main() -> None:
    """Set up, measure each kind, print."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--kind", action="append", choices=[kind.name for kind in KINDS])
    parser.add_argument("--against", type=Path, help="another checkout, to be paired with this one")
    parser.add_argument("--full", action="store_true", help="a plain reader that writes, too")
    arguments = parser.parse_args()
    kinds = [kind for kind in KINDS if kind.name in (arguments.kind or kind.name)]
    trees = {"score": ROOT, "plain": ROOT, "raw": ROOT}
    if arguments.against:
        trees["score there"] = arguments.against.resolve()
    if arguments.full:
        trees["writing"] = ROOT
    with (
        tempfile.TemporaryDirectory() as folder,
        EmbeddedPostgres(Path(folder), durable=False) as postgres,
    ):
        windows = [parts(kind, day) for day, kind in enumerate(kinds, start=1)]
        fill(postgres.url, [*kinds, *(one for each in windows for one in each)])
        for kind in kinds:
            with psycopg.connect(postgres.url) as connection:
                size = connection.execute(
                    'SELECT avg(octet_length("stepsJson"))::float8 FROM trajectories '
                    'WHERE "windowId" = %s',
                    (kind.window,),
                ).fetchall()[0][0]
            with ExitStack() as stack:
                readers = {
                    name: stack.enter_context(Reader(name.split()[0], postgres, tree))
                    for name, tree in trees.items()
                }
                _print(kind, measure(kind, readers, postgres.url, arguments.rounds), size)
        print("twice the rows of a window:")
        for kind, each in zip(kinds, windows, strict=True):
            _print_curve(kind, each, postgres, arguments.rounds)


if __name__ == "__main__":
    main()
