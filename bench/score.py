"""Measure how fast windows are scored, by kind of row: ``python -m bench.score``.

Three readers of the same rows of one embedded Postgres take turns, each in a process of its own:
``score_window`` end to end; a plain reader of the first system's kind that computes and writes
nothing; a raw binary read. Compared are CPU seconds, which a busy machine hardly changes: of the
reader's process, and of Postgres beside it. Printed are medians over the rounds. ``--against
FOLDER`` pairs this checkout with another one.
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
from dataclasses import dataclass
from pathlib import Path
from statistics import median
from types import TracebackType

import psycopg
from pydantic import SecretStr

from babylon_tasks.db.babylon import create
from babylon_tasks.db.migrate import apply
from babylon_tasks.sandbox.servers import EmbeddedPostgres
from babylon_tasks.settings import Settings
from bench.recorded_rows import COLUMNS, KINDS, MARKETS, Kind

ROOT = Path(__file__).resolve().parent.parent
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
        before = _cpu_of(self._postgres)
        print(kind.window, file=self._process.stdin, flush=True)
        line = self._process.stdout.readline()
        if not line:
            raise SystemExit(f"the reader ended with exit code {self._process.wait()}")
        found = Took(**json.loads(line), server=_cpu_of(self._postgres) - before)
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


def _cpu_of(postgres: EmbeddedPostgres) -> float:
    """Sum the CPU seconds of the server's processes, those that have ended included."""
    first = str(postgres.pid)
    ticks = 0
    for folder in Path("/proc").iterdir():
        if folder.name.isdigit():
            try:
                fields = (folder / "stat").read_text().rpartition(")")[2].split()
            except OSError:  # it has ended meanwhile, and counts as its parent's
                continue
            if folder.name == first:
                ticks += sum(map(int, fields[11:15]))
            elif fields[1] == first:
                ticks += sum(map(int, fields[11:13]))
    return ticks / os.sysconf("SC_CLK_TCK")


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
        fill(postgres.url, kinds)
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


if __name__ == "__main__":
    main()
