"""``windows retry``: failed hours get their attempts back, one or all of a span."""

from __future__ import annotations

import sys
from typing import Annotated

import typer

from babylon_tasks.cli.context import actor, begin, database
from babylon_tasks.cli.moments import Since, Until, read_window, since_hour
from babylon_tasks.cli.output import LISTED, AsJson, ExitCode, as_json, refuse, say, show
from babylon_tasks.counted import counted
from babylon_tasks.db import window_transitions
from babylon_tasks.db import windows as rows
from babylon_tasks.db.session import Connection
from babylon_tasks.db.windows import Window
from babylon_tasks.errors import IllegalTransition
from babylon_tasks.states import WindowState

_AT_ONCE = 10_000  # more than a year's hours


def retry(
    window: Annotated[
        str | None,
        typer.Argument(
            parser=read_window, metavar="[WINDOW]", help="Any moment of a UTC hour that failed."
        ),
    ] = None,
    since: Since = None,
    until: Until = None,
    dry_run: Annotated[
        bool, typer.Option("--dry-run", help="Only show which they are, change nothing.")
    ] = False,
    yes: Annotated[bool, typer.Option("--yes", help="Do not ask before several.")] = False,
    json: AsJson = False,
) -> None:
    """Give a failed window its attempts back, or with --since all that failed from then on.

    Each continues from where it failed. Several are shown first; then the command asks, where a
    terminal can answer, and needs --yes elsewhere. Of more than 10,000 it takes the newest.
    JSON: {window, state}; of several {"windows": [{window, state, reason}]}, the reason that each
    had failed for.
    """
    spanned = since is not None or until is not None
    if spanned == (window is not None):
        raise typer.BadParameter("name one WINDOW, or --since TIME for all that failed since")
    settings = begin()
    start = since_hour(settings, since)
    end = None if until is None else until.time(settings)
    with database(settings) as connection:
        if window is not None:
            _retry_one(connection, window, dry_run=dry_run, json=json)
            return
        failed = rows.list_windows(
            connection,
            since=start,
            until=end,
            states=[WindowState.FAILED],
            limit=_AT_ONCE + 1,
            lineage=settings.lineage,
        )[::-1]
        if len(failed) > _AT_ONCE:
            failed = failed[-_AT_ONCE:]
            say(f"those before {failed[0].window_id} are left out: run the command again for them")
        if not json:
            _preview(failed)
        if failed and not dry_run and not yes:
            _ask(len(failed))
        done = {} if dry_run else _retried(connection, failed)
    if failed and not done and not dry_run:
        refuse("nothing was changed: none of them is failed any more")
    if json:
        documents = (
            {
                "window": row.window_id,
                "state": done.get(row.window_id, row.state),
                "reason": row.reason,
            }
            for row in failed
        )
        as_json({"windows": list(documents)})
    elif dry_run:
        say("nothing was changed")
    elif done:
        show(f"{counted(len(done), 'window')} to be done again; the workers begin within a minute")


def _retry_one(connection: Connection, window: str, *, dry_run: bool, json: bool) -> None:
    if dry_run:
        state = rows.get(connection, window).state
        if state is not WindowState.FAILED:
            refuse(f"window {window} is {state}, not failed; see `babylon-tasks why {window}`")
    else:
        state = window_transitions.retry(connection, window, actor=actor())
    if json:
        as_json({"window": window, "state": state})
    elif dry_run:
        show(f"window {window} would be tried again; nothing was changed")
    else:
        show(f"window {window} is {state} again; the workers pick it up within a minute")


def _preview(failed: list[Window]) -> None:
    show(counted(len(failed), "failed window") + (":" if failed else "; nothing to do"))
    for row in failed[:LISTED]:
        show(f"  {row.window_id}  {row.reason or ''}".rstrip())
    if len(failed) > LISTED:
        show(f"  and {len(failed) - LISTED} more, up to {failed[-1].window_id}")


def _ask(count: int) -> None:
    if not sys.stdin.isatty():
        raise typer.BadParameter("add --yes, or --dry-run: nobody can be asked here")
    try:
        agreed = typer.confirm(f"try these {count} again?", err=True)
    except typer.Abort as error:  # typer makes one of Ctrl-C and of the end of what is typed
        say("")  # the question's line is not over
        if isinstance(error.__context__, KeyboardInterrupt):
            raise typer.Exit(ExitCode.INTERRUPTED) from None
        agreed = False
    if not agreed:
        refuse("nothing was changed")


def _retried(connection: Connection, failed: list[Window]) -> dict[str, WindowState]:
    """Retry each; one that somebody else was quicker with is named and left as it is."""
    done = {}
    for row in failed:
        try:
            done[row.window_id] = window_transitions.retry(connection, row.window_id, actor=actor())
        except IllegalTransition as error:
            say(str(error))
    return done
