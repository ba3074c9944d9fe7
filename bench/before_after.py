"""Pair this checkout with 0.1.0: ``python -m bench.before_after``.

For the table before and after: what both can do is done by each in turn, each with processes and a
Postgres of its own, on the same rows. 0.1.0 is checked out into a temporary folder; its last commit
is 2bea01b3, of 23 November 2026. Compared are CPU seconds of the process and of its Postgres, which
a busy machine hardly changes; printed are medians over the rounds, and of the ratios of each round.
``--only backlog`` does one part, ``--old`` takes another commit.
"""

from __future__ import annotations

import argparse
import tempfile
from collections.abc import Callable, Sequence
from contextlib import ExitStack
from dataclasses import replace
from itertools import pairwise
from pathlib import Path
from statistics import median

from psycopg import sql

from bench.before_after_rows import add_outcomes, copy_rows, fill, hours  # puts tests/ on the path
from bench.growth import exponent
from bench.recorded_rows import COLUMNS, KINDS, MARKETS, Kind
from bench.two_checkouts import ROOT, Database, Process, Side, Used, checked_out

from models import save_tiny_model  # isort: skip

LAST = "2bea01b3"  # of 0.1.0
OUTCOMES = 33  # that end in an hour, as in bench.big_database
WAITING = (100, 300, 1000)  # hours of a backlog
AT_ONCE = 10  # windows of it scored in one turn
PLANNED = (400, 800, 1600)  # members of a step that is planned
TRAINED = (75, 150, 300)  # members of a step that is trained
PACKED = "2048"
_NOT_COMPARED = """
No before of: tokens as objects (0.1.0 refused such rows); the gateway; inspection by the trainer,
which now comes before each step and counts. Not by CPU: 0.1.0 sealed and sent at most 200 windows a
minute, however many workers waited; workers now take the next one themselves (bench.drain).
"""
_SEALED = """
INSERT INTO training.windows (window_id, starts_at, held_out, state, trajectories)
SELECT %(window)s::text, (%(window)s::text || ':00+00')::timestamptz, false, 'sealed', %(rows)s
"""
_EMPTIED = (
    "SELECT tablename FROM pg_tables WHERE schemaname = 'training' "
    "AND tablename IN ('scores', 'rejections', 'bets', 'windows')"
)
Turn = Callable[[Process, int], Used]


def show(what: str, took: Sequence[Sequence[Used]], pieces: int, more: str = "") -> None:
    """Print a row of the table, in CPU milliseconds of a piece; ``took`` is both sides'."""
    cells = [
        f"{median(one[which] for one in side) / pieces * 1000:.3g}"
        for side in took
        for which in (0, 1)
    ]
    ratio = median(sum(a[:2]) / sum(b[:2]) for a, b in zip(*took, strict=True))
    print(f"| {what} | {' | '.join(cells)} | {ratio:.2f} | {more} |", flush=True)


def in_turn(processes: Sequence[Process], rounds: int, turn: Turn) -> list[list[Used]]:
    """Let each process take a turn in each round; the first round warms both and is left out."""
    took: list[list[Used]] = [[] for _ in processes]
    for number in range(rounds + 1):
        for process, found in zip(processes, took, strict=True):
            found.append(turn(process, number))
    return [found[1:] for found in took]


def growth(what: str, sizes: Sequence[int], took: Sequence[Sequence[Sequence[Used]]]) -> None:
    """Print how the CPU of each side grows with a size; ``took`` has both sides of each size."""
    each = [
        exponent(sizes, [median(sum(one[:2]) for one in both[side]) for both in took])
        for side in (0, 1)
    ]
    print(f"| {what}, exponent | {each[0]:+.2f} | | {each[1]:+.2f} | | | |", flush=True)


def scoring(sides: Sequence[Side], rounds: int, share: int) -> None:
    """Score a ``share``-th of the rows of ``bench.score``, kind by kind."""
    kinds = [replace(kind, rows=kind.rows // share) for kind in KINDS if kind.name != "objects"]
    databases = [side.database("score") for side in sides]
    for database in databases:
        with database.connect() as connection:
            for kind in kinds:
                copy_rows(connection, COLUMNS, kind)
                add_outcomes(connection, kind.window, MARKETS)
            connection.execute("VACUUM (ANALYZE)")
    with ExitStack() as stack:
        processes = [stack.enter_context(one.process()) for one in databases]
        for process in processes:
            process.does("load")
        for kind in kinds:

            def turn(process: Process, _: int, kind: Kind = kind) -> Used:
                seal(process.database, kind)
                return process.does("score", windows=[kind.window])

            took = in_turn(processes, rounds, turn)
            show(f"a row scored: {kind.about}", took, kind.rows)


def seal(database: Database, kind: Kind) -> None:
    """Leave one window of the database, sealed and not scored."""
    with database.connect() as connection:
        connection.execute("SET session_replication_role = replica")
        for (name,) in connection.execute(_EMPTIED).fetchall():
            connection.execute(sql.SQL("DELETE FROM training.{}").format(sql.Identifier(name)))
        connection.execute(_SEALED, {"window": kind.window, "rows": kind.rows})


def backlog(sides: Sequence[Side], rounds: int, _: int) -> None:
    """Seal and score backlogs of small hours, with outcomes; the oldest windows come first."""
    costs: list[list[list[Used]]] = []
    sealing: list[list[list[Used]]] = []
    for count in WAITING:
        databases = [side.database(f"backlog_{count}") for side in sides]
        windows = hours(databases[0], count)
        with ExitStack() as stack:
            for database in databases:
                fill(database, windows, 2, OUTCOMES)
            processes = [stack.enter_context(one.process()) for one in databases]
            for process in processes:
                process.does("load")
            sealed = [[process.does("seal")] for process in processes]
            show(f"a window opened and sealed, of {count}", sealed, count)
            sealing.append([[Used(one.cpu / count, one.server / count, 0)] for (one,) in sealed])
            for database in databases:
                with database.connect() as connection:
                    connection.execute("VACUUM (ANALYZE)")
            ages = (
                (("oldest", windows), ("newest", windows[::-1]))
                if count == WAITING[-1]
                else (("oldest", windows),)
            )
            for age, order in ages:
                read: list[list[int]] = [[] for _ in sides]

                def turn(process: Process, number: int) -> Used:
                    names = order[number * AT_ONCE : (number + 1) * AT_ONCE]  # noqa: B023
                    used = process.does("score", windows=names)
                    process.does("rest")
                    read[processes.index(process)].append(process.database.blocks())  # noqa: B023
                    return used

                took = in_turn(processes, rounds, turn)
                blocks = [median(b - a for a, b in pairwise(found)) / AT_ONCE for found in read]
                show(
                    f"a window scored, the {age} of {count} that wait", took, AT_ONCE,
                    f"{blocks[0]:,.0f} → {blocks[1]:,.0f} blocks",
                )  # fmt: skip
                if age == "oldest":
                    costs.append(took)
    growth("a window sealed, by how many wait", WAITING, sealing)
    growth("a window scored, by how many wait", WAITING, costs)


def steps(
    sides: Sequence[Side], rounds: int, sizes: Sequence[int], trainer: str, **environment: str
) -> list[list[list[Used]]]:
    """Score hours of each size, then train on each in a step; a fresh process for each size."""
    costs = []
    for members in sizes:
        databases = [side.database(f"{trainer}_{members}") for side in sides]
        windows = hours(databases[0], rounds + 1)
        for database in databases:
            fill(database, windows, members, 1, long=trainer == "peer")
            with database.process(**environment) as process:
                process.does("seal")
                process.does("score", windows=windows)
            with database.connect() as connection:
                connection.execute("VACUUM (ANALYZE)")
        with ExitStack() as stack:
            processes = [stack.enter_context(one.process(**environment)) for one in databases]
            for process in processes:
                process.does("load")
                process.does("start", trainer=trainer)
                stack.callback(process.does, "end")
            took = in_turn(
                processes,
                rounds,
                lambda process, number: process.does("train", window=windows[number]),  # noqa: B023
            )
        what = "planned" if trainer == "peer" else "trained, around ART's train()"
        peaks = [found[-1].peak_mb for found in took]
        show(f"a step of {members} {what}", took, 1, f"peak {peaks[0]:.0f} → {peaks[1]:.0f} MB")
        costs.append(took)
    return costs


def plan(sides: Sequence[Side], rounds: int, _: int) -> None:
    """Plan a step of a whole hour and commit it, with a trainer that only reads and writes."""
    growth("a step planned, by members", PLANNED, steps(sides, rounds, PLANNED, "peer"))


def overhead(sides: Sequence[Side], rounds: int, _: int) -> None:
    """Train a tiny model by the real trainer, and take off what ART says that its train() took."""
    with tempfile.TemporaryDirectory(prefix="babylon-bench-") as folder:
        model = save_tiny_model(Path(folder) / "model")
        environment = {
            "BABYLON_BASE_MODEL": str(model),
            "BABYLON_PACKED_SEQUENCE_LENGTH": PACKED,
        }
        costs = steps(sides, rounds, TRAINED, "real", **environment)
    growth("a step trained, by members", TRAINED, costs)


def record(sides: Sequence[Side], rounds: int, _: int) -> None:
    """Record trajectories of three steps from one process."""
    count = 400
    databases = [side.database("record") for side in sides]
    with ExitStack() as stack:
        processes = [stack.enter_context(one.process()) for one in databases]
        took = in_turn(processes, rounds, lambda process, _: process.does("record", count=count))
    speeds = [count / median(one.cpu + one.server for one in found) for found in took]
    show(
        "a trajectory of 3 steps recorded", took, count,
        f"{speeds[0]:,.0f} → {speeds[1]:,.0f} a CPU second of both",
    )  # fmt: skip


PARTS: dict[str, Callable[[Sequence[Side], int, int], None]] = {
    part.__name__: part for part in (scoring, backlog, plan, overhead, record)
}


def main() -> None:
    """Let both sides do each part in turn, and print."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--old", default=LAST, help="a commit of this repository")
    parser.add_argument("--rounds", type=int, default=3, choices=range(1, WAITING[0] // AT_ONCE))
    parser.add_argument("--share", type=int, default=4, help="of the rows of bench.score")
    parser.add_argument("--only", nargs="+", choices=PARTS, default=list(PARTS))
    given = parser.parse_args()
    with tempfile.TemporaryDirectory(prefix="babylon-bench-") as name, ExitStack() as stack:
        folder = Path(name)
        folder.chmod(0o711)
        sides = [
            Side("before", checked_out(given.old, folder), folder / "before", stack),
            Side("now", ROOT, folder / "now", stack),
        ]
        print("| CPU of | before, ms | of Postgres | now, ms | of Postgres | before/now | |")
        print("|---|---|---|---|---|---|---|", flush=True)
        for part in given.only:
            PARTS[part](sides, given.rounds, given.share)
    print(_NOT_COMPARED)


if __name__ == "__main__":
    main()
