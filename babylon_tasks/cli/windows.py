"""``windows list|backfill|retry``: the hours, and how to get them processed."""

from __future__ import annotations

from typing import Annotated

import typer
from msgspec import Struct

from babylon_tasks.cli.context import actor, begin, database
from babylon_tasks.cli.limits import Limit
from babylon_tasks.cli.moments import Since, Until, WrittenTime, read_moment, since_hour
from babylon_tasks.cli.nouns import Noun
from babylon_tasks.cli.output import AsJson, as_json, say, say_left_out, show, table
from babylon_tasks.cli.retry import retry
from babylon_tasks.counted import counted
from babylon_tasks.db import clock, open_and_seal
from babylon_tasks.db import windows as rows
from babylon_tasks.pipeline.discover import SEEN_LIMIT, bad_ids, discover, to_open
from babylon_tasks.states import WindowState
from babylon_tasks.windows import window_id

_NONE_AT_ALL = (
    "no window yet: beat opens the hours that agents record into (docs/recording.md); "
    "`babylon-tasks verify-data` shows Babylon's rows, `babylon-tasks doctor` what keeps them"
)
_NONE_OF_THESE = "no such window; without options `babylon-tasks windows list` lists the newest"


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


def _refuse_lookback(hours: str | None) -> None:
    if hours is not None:
        raise typer.BadParameter(f"write --since {hours}h")


def list_windows(
    since: Since = None,
    until: Until = None,
    min_agents: Annotated[int, typer.Option(min=0, help="Only with at least this many.")] = 0,
    state: Annotated[
        list[WindowState] | None, typer.Option(help="Only in this state; may be repeated.")
    ] = None,
    limit: Limit = 100,
    lookback_hours: Annotated[
        str | None,
        typer.Option("--lookback-hours", hidden=True, callback=_refuse_lookback, is_eager=True),
    ] = None,
    json: AsJson = False,
) -> None:
    """List windows, newest first, with state, counts, share of right bets and mean profit.

    JSON: {"windows": [{window_id, state, held_out, reason, trajectories, agents, scored,
    rejected, right_share, profit_mean, reward_mean, reward_std, reward_version, waiting,
    tripped, waits_until, score_anew, attempts, training_attempts, next_attempt_at, ...}],
    "left_out": how many more there are, older than these}.
    """
    del lookback_hours  # refused by its callback
    settings = begin()
    start = since_hour(settings, since)
    end = None if until is None else until.time(settings)
    with database(settings) as connection:
        found = rows.list_windows(
            connection,
            since=start,
            until=end,
            states=state or None,
            min_agents=min_agents,
            limit=limit,
            lineage=settings.lineage,
        )
        left_out = 0
        if len(found) == limit:
            every = rows.how_many(
                connection,
                since=start,
                until=end,
                states=state or None,
                min_agents=min_agents,
                lineage=settings.lineage,
            )
            left_out = every - len(found)
    if json:
        as_json({"windows": found, "left_out": left_out})
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
        spare=("trajectories#", "profit#", "agents#"),
        empty=_NONE_AT_ALL if not (since or until or state or min_agents) else _NONE_OF_THESE,
    )
    if left_out:
        more = f"--until {found[-1].window_id} shows the next, --limit {len(found) + left_out} all"
        say_left_out(left_out, "older", more)


def backfill(
    since: Annotated[
        WrittenTime,
        typer.Option(
            parser=read_moment,
            metavar="TIME",
            help="From the hour of this time on: 2026-01-31, 2026-01-31T09, or 6h, 3d ago.",
        ),
    ],
    dry_run: Annotated[bool, typer.Option("--dry-run", help="Only list, change nothing.")] = False,
    json: AsJson = False,
) -> None:
    """Open hours that discovery does not reach, seal those that are over, notify the workers.

    Repeating it is harmless. Beat seals and sends, minute by minute, what one call does not. Hours
    older than BABYLON_LOOKBACK_HOURS count as complete: rows that come later are rejected as late.
    JSON: {since, new: [window], sealed: [window], sent: [task_id], malformed: [windowId]}.
    """
    settings = begin()
    start = since.hour(settings)
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
        f"{counted(len(result.new), 'window')} {'to open' if dry_run else 'opened'}, "
        f"{len(result.sealed)} sealed, {counted(len(result.sent), 'message')} sent"
    )
    if result.malformed:
        say(f"ignored, their windowId is not a UTC hour: {', '.join(result.malformed[:5])}")


def _why(row: rows.Window) -> str:
    """Build the last column of the table: the window's reason, and what it waits for."""
    waits = row.waiting or row.tripped or row.score_anew is not None
    return "; ".join(filter(None, (row.reason, row.why_idle if waits else None)))
