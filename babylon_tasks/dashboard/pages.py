"""Which page a path names, and what is read for it: one read-only transaction each."""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping
from datetime import datetime
from urllib.parse import parse_qs, unquote

import typer

from babylon_tasks.cli.moments import read_moment
from babylon_tasks.cli.report_answers import answers
from babylon_tasks.cli.report_parts import read_parts
from babylon_tasks.cli.whole_report import nothing_to_report, read_report
from babylon_tasks.counted import counted
from babylon_tasks.dashboard.checkpoint_page import checkpoint_page
from babylon_tasks.dashboard.hour_page import hour_page
from babylon_tasks.dashboard.since_form import since_form
from babylon_tasks.dashboard.site_links import SITE
from babylon_tasks.dashboard.site_page import MOST_GROUPS, WAYS, lines, site_page
from babylon_tasks.dashboard.step_page import step_page
from babylon_tasks.dashboard.trajectory_page import trajectory_page
from babylon_tasks.db import clock, closeups, lineages, reports, run_report
from babylon_tasks.db.checkpoint_history import checkpoint_history
from babylon_tasks.db.read_only import read_only
from babylon_tasks.db.session import Connection
from babylon_tasks.db.trajectory_history import trajectory_history
from babylon_tasks.errors import BabylonTasksError, DatabaseError
from babylon_tasks.http_server.limits import RETRY_AFTER_SECONDS
from babylon_tasks.http_server.refusals import Refused
from babylon_tasks.pipeline.look_at import look_at_extremes, look_at_trajectory
from babylon_tasks.run_history import run_history
from babylon_tasks.settings import Settings
from babylon_tasks.windows import hour_of, window_id, window_start

_MOST_FIELDS = 8
_FIELDS = ("since", "lineage")
_OF_AN_HOUR = 3  # best and worst answers
_OF_SOME = 10
_WEEK = 168  # windows
_MOST_CHARACTERS = 200  # of what was asked for, in an answer
_ANSWERS = "The best and the worst answers"
Make = Callable[[Connection, Settings, str, Mapping[str, str]], str]


class Pages:
    """Make the page of a path; the process reads its settings once."""

    def __init__(self, settings: Settings) -> None:
        self._settings = settings

    def __call__(self, path: str, query: str) -> str:
        """Make it; raises Refused where there is none, or where Postgres does not answer."""
        make, name = _find(path)
        given = _given(query)
        self._require_own(given.get("lineage"))
        try:
            with read_only(self._settings) as connection:
                lineages.require(connection, self._settings.lineage)
                return make(connection, self._settings, name, given)
        except DatabaseError as error:
            retry = {"retry-after": str(RETRY_AFTER_SECONDS)}
            raise Refused(503, str(error), headers=retry) from error
        except typer.BadParameter as error:
            raise Refused(400, error.message) from error
        except BabylonTasksError as error:
            raise Refused(404, str(error)) from error

    def _require_own(self, asked: str | None) -> None:
        own = self._settings.lineage
        if asked not in (None, own):
            raise Refused(
                404,
                f"this dashboard shows lineage {own} alone, not {asked[:_MOST_CHARACTERS]!r}; "
                "BABYLON_LINEAGE names the one that a dashboard shows: start another one",
            )


def overview(connection: Connection, settings: Settings, _: str, given: Mapping[str, str]) -> str:
    """Make the report's page; ``since`` as on the command line."""
    text = given.get("since")
    found = read_report(connection, settings, since=_since(connection, text))
    if found is None:
        return _nothing_yet(f"Lineage {settings.lineage}", settings, text)
    from babylon_tasks.cli.report_page import page  # it imports matplotlib: seconds

    parts = read_parts(connection, settings, found.rows)
    return page(
        f"Lineage {found.lineage}",
        found.lines,
        found.history,
        found.rows,
        parts.extremes,
        comparison=parts.comparison,
        cost=found.cost,
        above=[WAYS, *since_form("/", text or "")],
        links=SITE,
    )


def some_answers(
    connection: Connection, settings: Settings, _: str, given: Mapping[str, str]
) -> str:
    """Make the page of the best and the worst answers of a week, or from a moment on."""
    text = given.get("since")
    rows = run_report.read(
        connection, settings.lineage, since=_since(connection, text), limit=_WEEK
    )
    if not rows.windows:
        return _nothing_yet(_ANSWERS, settings, text)
    names = [one.window for one in rows.windows]
    found = look_at_extremes(connection, settings, names, best=_OF_SOME, worst=_OF_SOME)
    about = f"<p>Of {counted(len(names), 'window')}, {names[0]} to {names[-1]}.</p>"
    body = [*since_form("/answers", text or ""), about, *answers(found, SITE)]
    return site_page(_ANSWERS, body)


def hour(connection: Connection, settings: Settings, name: str, _: Mapping[str, str]) -> str:
    """Make the page of an hour, by any moment of it."""
    window = hour_of(name)
    found = reports.history(connection, window, lineage=settings.lineage)
    extremes = look_at_extremes(connection, settings, [window], best=_OF_AN_HOUR, worst=_OF_AN_HOUR)
    comparable = closeups.comparable(connection, window, limit=MOST_GROUPS + 1)
    return hour_page(found, comparable, extremes)


def step(connection: Connection, settings: Settings, name: str, _: Mapping[str, str]) -> str:
    """Make the page of a step."""
    number = int(name)
    found = run_report.steps_of(connection, settings.lineage, number)
    if not found:
        raise Refused(404, f"lineage {settings.lineage} has no step {number}")
    took = run_report.step_groups(connection, settings.lineage, number, limit=MOST_GROUPS + 1)
    return step_page(number, found, took)


def checkpoint(connection: Connection, settings: Settings, name: str, _: Mapping[str, str]) -> str:
    """Make the page of a checkpoint."""
    found = checkpoint_history(connection, settings.lineage, int(name))
    if found is None:
        raise Refused(404, f"lineage {settings.lineage} has no checkpoint {int(name)}")
    rows = run_report.read(connection, settings.lineage, since=None)
    return checkpoint_page(found, rows.checkpoints, run_history(rows))


def trajectory(connection: Connection, settings: Settings, name: str, _: Mapping[str, str]) -> str:
    """Make the page of a trajectory."""
    found = look_at_trajectory(connection, settings, name)
    history = trajectory_history(connection, name, lineage=settings.lineage)
    if found is None or history is None:
        raise Refused(404, f"there is no trajectory {name[:_MOST_CHARACTERS]!r} on record")
    return trajectory_page(found, history, settings.lineage)


_ROUTES: tuple[tuple[re.Pattern[str], Make], ...] = (
    (re.compile(r"/()"), overview),
    (re.compile(r"/answers()"), some_answers),
    (re.compile(r"/windows/([^/]{1,100})"), hour),
    (re.compile(r"/steps/([0-9]{1,9})"), step),
    (re.compile(r"/checkpoints/([0-9]{1,9})"), checkpoint),
    (re.compile(r"/trajectories/([^/]{1,1000})"), trajectory),
)


def _find(path: str) -> tuple[Make, str]:
    for pattern, make in _ROUTES:
        found = pattern.fullmatch(path)
        name = "" if found is None else unquote(found[1])
        # Postgres takes no NUL, so nothing that it knows has one in its name.
        if found is not None and "\0" not in name:
            return make, name
    raise Refused(404, f"there is no page {path[:_MOST_CHARACTERS]!r}")


def _given(query: str) -> dict[str, str]:
    try:
        fields = parse_qs(query, max_num_fields=_MOST_FIELDS)
    except ValueError:
        raise Refused(400, f"a page takes at most {_MOST_FIELDS} fields") from None
    for name, values in fields.items():  # passed over, another page than what was asked for
        if name not in _FIELDS:
            known = " and ".join(_FIELDS)
            raise Refused(400, f"a page takes {known}, not {name[:_MOST_CHARACTERS]!r}")
        if len(values) > 1:
            raise Refused(400, f"{name!r} is given twice")
    return {name: values[0].strip() for name, values in fields.items() if values[0].strip()}


def _nothing_yet(title: str, settings: Settings, since: str | None) -> str:
    """Make the page of a run that has not begun: whoever has just started it sees no error."""
    why = nothing_to_report(settings.lineage, since)
    if since is not None:
        raise Refused(404, why)
    return site_page(title, lines([why]))


def _since(connection: Connection, text: str | None) -> datetime | None:
    """Return the first hour that was asked for; raises BadParameter."""
    if text is None:
        return None
    written = read_moment(text)
    at = clock.now(connection) - written.ago if written.at is None else written.at
    return window_start(window_id(at))
