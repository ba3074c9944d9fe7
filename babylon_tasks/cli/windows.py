"""``windows list|backfill|retry``: the hours, and how to get them processed."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from typing import Annotated, Any

import typer
from msgspec import Struct

from babylon_tasks.cli.context import actor, begin, database
from babylon_tasks.cli.nouns import Noun
from babylon_tasks.cli.output import AsJson, as_json, say, show, table
from babylon_tasks.db import clock, open_and_seal, window_transitions
from babylon_tasks.db import windows as rows
from babylon_tasks.pipeline.discover import SEEN_LIMIT, bad_ids, discover, to_open
from babylon_tasks.states import WindowState
from babylon_tasks.windows import window_id, window_start

WindowArgument = Annotated[
    str, typer.Argument(metavar="WINDOW", help="A UTC hour, e.g. 2026-01-31T09:00.")
]


class Backfill(Struct, frozen=True):
    """The result of a backfill: windows without a row, and what it did with them.

    ``malformed``: ids in Babylon's rows that are not hours; they are ignored.
    """

    since: str
    new: list[str]
    sealed: list[str]
    sent: list[str]
    malformed: list[str]


def register(app: typer.Typer) -> None:
    """Add this file's commands."""
    windows = typer.Typer(cls=Noun, no_args_is_help=True, help="The hours: list, backfill, retry.")
    windows.command("list")(list_windows)
    windows.command()(backfill)
    windows.command()(retry)
    app.add_typer(windows, name="windows")


def list_windows(
    min_agents: Annotated[int, typer.Option(min=0, help="Only with at least this many.")] = 0,
    lookback_hours: Annotated[
        int | None, typer.Option(min=1, help="Only those that began within this many hours.")
    ] = None,
    state: Annotated[
        list[WindowState] | None, typer.Option(help="Only in this state; may be repeated.")
    ] = None,
    limit: Annotated[int, typer.Option(min=1, help="At most this many.")] = 100,
    json: AsJson = False,
) -> None:
    """List windows, newest first, with state, counts, share of right bets and mean profit.

    JSON: {"windows": [{window_id, state, held_out, reason, trajectories, agents, scored,
    rejected, right_share, profit_mean, reward_mean, reward_std, reward_version, waiting,
    tripped, waits_until, score_anew, attempts, training_attempts, next_attempt_at, ...}]}.
    """
    settings = begin()
    with database(settings) as connection:
        since = None
        if lookback_hours is not None:
            since = clock.now(connection) - timedelta(hours=lookback_hours)
        found = rows.list_windows(
            connection,
            since=since,
            states=state or None,
            min_agents=min_agents,
            limit=limit,
            lineage=settings.lineage,
        )
    if json:
        as_json({"windows": found})
        return
    columns = ("window", "state", "agents#", "trajectories#", "scored#", "rejected#")
    table(
        None,
        (*columns, "right#", "profit#", "why"),
        (
            (
                w.window_id,
                w.state,
                w.agents,
                w.trajectories,
                w.scored,
                w.rejected,
                None if w.right_share is None else f"{w.right_share:.0%}",
                None if w.profit_mean is None else f"{w.profit_mean:z,.2f}",
                _why(w),
            )
            for w in found
        ),
    )


def backfill(
    since: Annotated[str, typer.Option(help="From this UTC time on: 2026-01-31 or an hour.")],
    dry_run: Annotated[bool, typer.Option("--dry-run", help="Only list, change nothing.")] = False,
    json: AsJson = False,
) -> None:
    """Open hours that discovery does not reach, seal those that are over, notify the workers.

    Repeating it is harmless. Beat seals and sends, minute by minute, what one call does not. Hours
    older than BABYLON_LOOKBACK_HOURS count as complete: rows that come later are rejected as late.
    JSON: {since, new: [window], sealed: [window], sent: [task_id], malformed: [windowId]}.
    """
    start = since_moment(since)
    settings = begin()
    with database(settings) as connection:
        now = clock.now(connection)
        seen = open_and_seal.seen(connection, window_id(start), window_id(now), SEEN_LIMIT)
        new, malformed = to_open(seen, start, now), bad_ids(connection, start)
    result = Backfill(window_id(start), new, [], [], malformed)
    if not dry_run:
        from babylon_tasks.tasks.send import send_windows

        discovered = discover(settings, actor=actor(), since=start)
        result = Backfill(
            result.since,
            discovered.opened,
            discovered.sealed,
            send_windows(discovered.to_score, discovered.to_train, discovered.others),
            discovered.malformed,
        )
    if json:
        as_json(result)
        return
    for name in result.new:
        show(f"{name}  {'would be opened' if dry_run else 'opened'}")
    say(
        f"{len(result.new)} windows {'to open' if dry_run else 'opened'}, "
        f"{len(result.sealed)} sealed, {len(result.sent)} messages sent"
    )
    if result.malformed:
        say(f"ignored, their windowId is not a UTC hour: {', '.join(result.malformed[:5])}")


def retry(window: WindowArgument, json: AsJson = False) -> None:
    """Give a failed window its attempts back; it continues from where it failed.

    JSON: {window, state}.
    """
    settings = begin()
    with database(settings) as connection:
        state = window_transitions.retry(connection, window, actor=actor())
    if json:
        as_json({"window": window, "state": state})
    else:
        show(f"window {window} is {state} again; the workers pick it up within a minute")


def _why(row: rows.Window) -> str:
    """Build the last column of the table: the window's reason, and what it waits for."""
    waits = row.waiting or row.tripped or row.score_anew is not None
    return "; ".join(filter(None, (row.reason, row.why_idle if waits else None)))


def since_moment(text: str) -> datetime:
    """Read what --since says, as the start of its hour; raises BadParameter."""
    try:
        moment: Any = datetime.fromisoformat(text)
    except ValueError as error:
        raise typer.BadParameter(f"{text!r} is not a time; write 2026-01-31 or an hour") from error
    if moment.tzinfo is None:
        moment = moment.replace(tzinfo=UTC)
    return window_start(window_id(moment))
