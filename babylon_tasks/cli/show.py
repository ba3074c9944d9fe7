"""``show``: one trajectory to look at, or the best and the worst of an hour."""

from __future__ import annotations

from typing import Annotated

import typer

from babylon_tasks.cli.closeup import print_trajectory, print_window
from babylon_tasks.cli.context import begin, database
from babylon_tasks.cli.moments import written_hour
from babylon_tasks.cli.output import AsJson, as_json
from babylon_tasks.db import unopened_windows
from babylon_tasks.pipeline.look_at import look_at_trajectory, look_at_window

_BY_DEFAULT = 1  # of the best and of the worst, where none of them was asked for


def register(app: typer.Typer) -> None:
    """Add this file's command."""
    app.command()(show)


def show(
    what: Annotated[
        str,
        typer.Argument(
            metavar="TRAJECTORY|WINDOW", help="An id, or a moment of a UTC hour: 2026-01-31T09."
        ),
    ],
    best: Annotated[
        int | None, typer.Option(min=0, max=100, help="Of a window: this many of its best.")
    ] = None,
    worst: Annotated[
        int | None, typer.Option(min=0, max=100, help="Of a window: this many of its worst.")
    ] = None,
    json: AsJson = False,
) -> None:
    """Show a trajectory: prompt, answer, reward and its parts, what those that it was compared
    with got, which step used it or why none did; or the best and the worst of a window.

    JSON of a trajectory: {trajectory_id, window, agent_id, account, detail, reward: {reward,
    reward_version, scorer, parts, group_key, place, comparable: [reward]}, calls: [{model,
    policy_step, prompt: [{role, text}], answer, action}], unreadable}. JSON of a window: {window,
    state, reason, scored, best: [trajectory], worst: [trajectory]}.
    """
    settings = begin()
    with database(settings) as connection:
        hour = written_hour(what)
        if hour is None:
            if best is not None or worst is not None:
                raise typer.BadParameter("--best and --worst are of a window")
            found = look_at_trajectory(connection, settings, what)
            if found is not None:
                as_json(found) if json else print_trajectory(found)
                return
            unopened_windows.refuse(connection, what)
            raise typer.BadParameter(
                f"{what} is neither a trajectory on record nor an hour; write 2026-01-31T09"
            )
        neither = best is None and worst is None
        window = look_at_window(
            connection,
            settings,
            hour,
            best=_BY_DEFAULT if neither else best or 0,
            worst=_BY_DEFAULT if neither else worst or 0,
        )
    as_json(window) if json else print_window(window)
