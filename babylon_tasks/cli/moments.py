"""Times as people type them: any moment of an hour names its window, ``--since`` a beginning."""

from __future__ import annotations

import re
from datetime import UTC, datetime, timedelta
from typing import Annotated

import typer
from msgspec import Struct

from babylon_tasks.cli.context import reach_database
from babylon_tasks.db import clock
from babylon_tasks.db.session import session
from babylon_tasks.errors import BadWindowId
from babylon_tasks.settings import Settings
from babylon_tasks.windows import hour_of, moment_of, window_id, window_start

_DAY = re.compile(r"\d{4}-\d{2}-\d{2}", re.ASCII)
_AGO = re.compile(r"(\d{1,5})([mhd])", re.ASCII)
_UNITS = {"m": timedelta(minutes=1), "h": timedelta(hours=1), "d": timedelta(days=1)}
_HOW = "a day (2026-01-31), a time (2026-01-31T09:30, UTC, or with an offset) or how long ago (6h)"


class WrittenTime(Struct, frozen=True):
    """What ``--since`` or ``--until`` says: a time, or how long ago by Postgres's clock."""

    text: str
    at: datetime | None = None
    ago: timedelta = timedelta(0)

    def time(self, settings: Settings) -> datetime:
        """Return the time; asks Postgres only for one that is given as an age."""
        if self.at is not None:
            return self.at
        reach_database(settings)
        with session(settings) as connection:
            return clock.now(connection) - self.ago

    def hour(self, settings: Settings) -> datetime:
        """Return the start of the hour that it lies in."""
        return window_start(window_id(self.time(settings)))


def read_window(text: str) -> str:
    """Return the window that a moment lies in; raises BadParameter."""
    try:
        return hour_of(text)
    except BadWindowId as error:
        raise typer.BadParameter(str(error)) from error


def written_hour(text: str) -> str | None:
    """Return the window that a text names, which may be an id of something else."""
    try:
        return hour_of(text)
    except BadWindowId:
        return None


def read_moment(text: str) -> WrittenTime:
    """Read ``--since`` or ``--until``; raises BadParameter."""
    ago = _AGO.fullmatch(text.strip())
    if ago is not None:
        return WrittenTime(text, ago=int(ago[1]) * _UNITS[ago[2]])
    try:
        if _DAY.fullmatch(text.strip()):
            return WrittenTime(text, at=datetime.fromisoformat(text.strip()).replace(tzinfo=UTC))
        return WrittenTime(text, at=moment_of(text))
    except ValueError as error:
        raise typer.BadParameter(f"{text!r} is not a time; write {_HOW}") from error


def since_hour(settings: Settings, since: WrittenTime | None) -> datetime | None:
    """Return the first hour that ``--since`` names; None where it is not given."""
    return None if since is None else since.hour(settings)


WindowArgument = Annotated[
    str,
    typer.Argument(
        parser=read_window,
        metavar="WINDOW",
        help="Any moment of a UTC hour, as 2026-01-31T09 or T09:30, or with an offset: T11+02:00.",
    ),
]
Until = Annotated[
    WrittenTime | None,
    typer.Option(
        parser=read_moment,
        metavar="TIME",
        help="Only hours that began before this time, written as for --since.",
    ),
]
Since = Annotated[
    WrittenTime | None,
    typer.Option(
        parser=read_moment,
        metavar="TIME",
        help="Only from the hour of this time on: 2026-01-31, 2026-01-31T09, or 6h, 3d ago.",
    ),
]
