"""``--since`` and ``--until`` are read in one way by every command."""

from __future__ import annotations

import inspect
from datetime import UTC, datetime, timedelta

import pytest
import typer

from babylon_tasks.cli.moments import Since, Until, WrittenTime, read_moment
from tests.command_tree import every_command


@pytest.mark.parametrize(
    ("written", "at"),
    [
        ("2026-01-31", datetime(2026, 1, 31, tzinfo=UTC)),
        ("2026-01-31T09", datetime(2026, 1, 31, 9, tzinfo=UTC)),
        ("2026-01-31T09:30Z", datetime(2026, 1, 31, 9, 30, tzinfo=UTC)),
        ("2026-01-31T09:30+02:00", datetime(2026, 1, 31, 7, 30, tzinfo=UTC)),
    ],
)
def test_a_day_or_a_moment_is_that_time(written: str, at: datetime) -> None:
    assert read_moment(written).at == at


@pytest.mark.parametrize(
    ("written", "ago"),
    [
        ("90m", timedelta(minutes=90)),
        ("6h", timedelta(hours=6)),
        ("3d", timedelta(days=3)),
    ],
)
def test_an_age_is_counted_back_by_the_database(written: str, ago: timedelta) -> None:
    assert read_moment(written) == WrittenTime(written, ago=ago)


@pytest.mark.parametrize("written", ["", "yesterday", "6", "h", "-6h", "1000000d", "2026-02-30"])
def test_anything_else_is_refused_with_how_to_write_it(written: str) -> None:
    with pytest.raises(typer.BadParameter, match=r"is not a time; write a day .* or how long ago"):
        read_moment(written)


def test_every_command_that_asks_for_a_time_reads_it_so() -> None:
    asked = {
        (path[-1], name): about.annotation
        for path, command in every_command()
        for name, about in inspect.signature(command.callback, eval_str=True).parameters.items()
        if name in ("since", "until")
    }
    assert {name for name, _ in asked} >= {"list", "retry", "report", "verify-data"}
    own = {key: kind for key, kind in asked.items() if kind not in (Since, Until)}
    assert list(own) == [("backfill", "since")]  # which must have one
    assert own["backfill", "since"].__metadata__[0].parser is read_moment
