"""A database as years of running leave it, made by set-based SQL (``big_rows.sql``)."""

from __future__ import annotations

import json
import sys
from datetime import datetime, timedelta
from pathlib import Path
from typing import Any, LiteralString

import psycopg
from msgspec import Struct

from babylon_tasks.db import clock, outcomes
from babylon_tasks.db.babylon import create
from babylon_tasks.db.migrate import apply
from babylon_tasks.db.session import session
from babylon_tasks.db.sql import parse
from babylon_tasks.settings import Settings
from babylon_tasks.windows import window_id

ROOT = Path(__file__).resolve().parent.parent
sys.path.insert(0, str(ROOT / "tests"))
from factories import MODEL, action, exact_call, step  # noqa: E402

_SQL = Path(__file__).with_suffix(".sql")
MARKETS = 33  # that end in an hour
NEW = 4  # hours that nobody has opened
WAITING = 12  # hours of each age that wait to be scored; half of them for the runs with an index
AGES = ("newest", "middle", "oldest")
KEPT_DAYS = 14  # of captured calls
_ORDER = (
    *("lineage", "steps", "checkpoints", "consumption", "rejections", "bets", "figures"),
    *("evaluations", "promotions", "events", "calls"),
)
STALE = "its hour is more than 168 hours before the newest sealed one (BABYLON_MAX_STALENESS_HOURS)"


class Size(Struct, frozen=True):
    """How much there is: ``each`` trajectories in each hour."""

    trajectories: int
    hours: int
    steps: int

    @property
    def each(self) -> int:
        """Trajectories of an hour."""
        return self.trajectories // self.hours


def sized(trajectories: int) -> Size:
    """Return a size as the largest one's: 83 trajectories an hour, a step in nine of ten."""
    hours = max(72, trajectories // 83)
    trained = set(range(hours - NEW)) - {hour for age in waiting(hours).values() for hour in age}
    steps = sum(1 for hour in trained if hour % 10)
    return Size(trajectories, hours, min(steps, hours * 10 // 12))


def waiting(hours: int) -> dict[str, range]:
    """Choose the hours of each age, by number, that wait to be scored."""
    begins = {"oldest": 2, "middle": hours // 2, "newest": hours - NEW - WAITING - 1}
    return {age: range(begins[age], begins[age] + WAITING) for age in AGES}


class Filled(Struct, frozen=True):
    """What was made, and the hours of each age that wait to be scored."""

    size: Size
    first: datetime
    waiting: dict[str, list[str]]

    def hour(self, number: int) -> str:
        """Return the id of an hour by its number."""
        return window_id(self.first + timedelta(hours=number))

    def hours_ago(self, age: str) -> int:
        """Return for how many hours those of an age are over, about."""
        return self.size.hours - waiting(self.size.hours)[age].start

    def trained(self, age: str) -> str:
        """Return an hour of an age that was trained."""
        number = {"oldest": 17, "middle": self.size.hours // 2 + 17, "newest": self.size.hours - 30}
        hour = number[age]
        return self.hour(hour if hour % 10 else hour + 1)


def fill(settings: Settings, size: Size) -> Filled:
    """Create the tables and the rows."""
    create(settings)
    apply(settings)
    return insert_rows(settings, size)


def insert_rows(settings: Settings, size: Size, markets: int = MARKETS) -> Filled:
    """Fill the tables; the newest hour is the last that is over."""
    with session(settings) as ours:
        over = clock.now(ours).replace(minute=0, second=0, microsecond=0) - timedelta(hours=2)
    first = over - timedelta(hours=size.hours - 1)
    waits = waiting(size.hours)
    statements = _statements()
    values: dict[str, Any] = {
        "rows": size.hours * size.each,
        "hours": size.hours,
        "each": size.each,
        "markets": markets,
        "steps": size.steps,
        "new": NEW,
        "first": first.replace(tzinfo=None),
        "waiting": [hour for hours in waits.values() for hour in hours],
        "model": MODEL,
        "yes": _text("YES", size.steps),
        "no": _text("NO", size.steps),
        "groups": json.dumps(_groups()),
        "figures": json.dumps(_FIGURES),
        "detail": STALE,
        "after": f"7{size.each * (size.hours - 24 * KEPT_DAYS):018}",
    }
    url = settings.database_url.get_secret_value()
    with psycopg.connect(url, autocommit=True, cursor_factory=psycopg.ClientCursor) as connection:
        connection.execute("SET synchronous_commit = off; SET jit = off")
        for name in ("trajectories", "outcomes", "windows", "scores"):
            connection.execute(statements[name], values)
        connection.execute("VACUUM ANALYZE")
        with session(settings) as ours:
            outcomes.follow(ours, settings, since=first)
        connection.execute(
            "SELECT training.make_call_partitions(current_date - 16, current_date + 2)"
        )
        for name in _ORDER:
            connection.execute(statements[name], values)
        connection.execute("VACUUM ANALYZE")
    return Filled(
        size,
        first,
        {
            age: [window_id(first + timedelta(hours=number)) for number in hours]
            for age, hours in waits.items()
        },
    )


def index_unnamed(connection: psycopg.Connection[Any]) -> None:
    """Create the index of the rows that name no hour, as docs/scale.md advises."""
    connection.execute(_statements()["index_unnamed"])
    connection.execute("VACUUM ANALYZE trajectories")


def table_sizes(connection: psycopg.Connection[Any], tables: list[str]) -> list[tuple[Any, ...]]:
    """List name, rows, bytes, and bytes of indexes of each table."""
    return connection.execute(_statements()["sizes"], {"tables": tables}).fetchall()


def _statements() -> dict[str, LiteralString]:
    return parse(_SQL.read_text("utf-8"), str(_SQL))["name"]


def _text(answer: str, policy_step: int) -> str:
    done = action(market="@market", side=answer)
    return json.dumps([step(0, [exact_call(answer, policy_step=policy_step)], action=done)])


def _groups() -> list[dict[str, Any]]:
    return [
        {
            "window": "2026-01-31T09:00",
            "key": f"scenario-{number}|trader|bet",
            "members": [
                {
                    "trajectory_id": f"7{number * 16 + member:018}",
                    "reward": member / 16,
                    "reward_version": 1,
                    "content": f"{number * 16 + member:064x}",
                }
                for member in range(16)
            ],
        }
        for number in range(2)
    ]


_FIGURES = {
    "scorer": "default 3",
    "bins": [2] * 20,
    "archetypes": {"trader": 40},
    "answers": {},
    "sketch": [number * 2**50 for number in range(64)],
}
