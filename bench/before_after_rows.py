"""Rows that 0.1.0 and this checkout both read, for ``bench.before_after``: seeded."""

from __future__ import annotations

import random
import sys
from collections.abc import Iterable, Iterator, Sequence
from pathlib import Path
from typing import Any

import psycopg

from babylon_tasks.db import clock
from babylon_tasks.windows import WINDOW as HOUR
from babylon_tasks.windows import window_id
from bench.two_checkouts import Database

sys.path.insert(0, str(Path(__file__).resolve().parent.parent / "tests"))
from crowd import QUESTION  # the tests' parts are no package
from factories import exact_call, step, trajectory

GROUP = 16
LONG = 300  # tokens of a long answer


def hours(database: Database, count: int) -> list[str]:
    """List the last so many hours that are over: outcomes of the look-back are among them."""
    with database.connect() as connection:
        newest = clock.now(connection) - HOUR
    return [window_id(newest - number * HOUR) for number in range(count, 0, -1)]


def add_outcomes(connection: psycopg.Connection[Any], window: str, markets: int) -> None:
    """Insert how so many markets ended in an hour."""
    connection.cursor().executemany(
        'INSERT INTO market_outcomes (id, "windowId", "predictionMarketId", outcome) '
        "VALUES (%s, %s, %s, %s)",
        [
            (f"{window}-{n}", window, f"m-{n}", random.Random(n).choice(["YES", "NO"]))
            for n in range(markets)
        ],
    )


def fill(
    database: Database, windows: Sequence[str], agents: int, outcomes: int, *, long: bool = False
) -> None:
    """Record hours of so many agents, sixteen of whom were asked the same."""
    with database.connect() as connection:
        for window in windows:
            rows = list(recorded(window, agents, long=long))
            columns = ", ".join(f'"{name}"' for name in rows[0])
            copy_rows(connection, columns, map(dict.values, rows))
            add_outcomes(connection, window, outcomes)
        connection.execute("VACUUM (ANALYZE)")


def recorded(window: str, agents: int, *, long: bool) -> Iterator[dict[str, Any]]:
    """Make the rows of an hour; ``long``: prompts of 3 kB and answers of 300 tokens."""
    draw = random.Random(window)
    for number in range(agents):
        place = number // GROUP
        answer = draw.choice(["YES", "NO"])
        asked: dict[str, Any] = {"userPrompt": f"{window}, {place}. {QUESTION}"}
        if long:
            asked["userPrompt"] += QUESTION * 4
            asked["logprobs"] = [-draw.expovariate(1.0) for _ in range(LONG)]
            asked["token_ids"] = [draw.randrange(1000) for _ in range(LONG)]
            answer += f", said agent {number}" * 80
        yield trajectory(
            window,
            f"agent-{number}",
            [step(0, [exact_call(answer, model="babylon@0", **asked)], window=window)],
            scenario=f"question-{place}",
            final_pnl=draw.gauss(0, 500),
        )


def copy_rows(
    connection: psycopg.Connection[Any], columns: str, rows: Iterable[Iterable[object]]
) -> None:
    """Copy rows into ``trajectories``."""
    statement = f"COPY trajectories ({columns}) FROM STDIN".encode()
    with connection.cursor().copy(statement) as copy:
        for row in rows:
            copy.write_row(list(row))
