"""``compare``: what serves against an anchor, by arms of agents."""

from __future__ import annotations

from typing import Annotated, Any

import msgspec
import typer
from msgspec import structs

from babylon_tasks.cli.comparison_lines import lines
from babylon_tasks.cli.comparison_picture import picture
from babylon_tasks.cli.context import actor, begin, database
from babylon_tasks.cli.models import step_of
from babylon_tasks.cli.nouns import Noun
from babylon_tasks.cli.output import AsJson, as_json, refuse, say, show
from babylon_tasks.comparison.blocks import block_for
from babylon_tasks.comparison.parameters import MetricParameters
from babylon_tasks.db import comparisons, pauses
from babylon_tasks.db.comparisons import Comparison
from babylon_tasks.db.session import Connection
from babylon_tasks.pipeline import start_comparison
from babylon_tasks.pipeline.begin_comparison import comparison_outlook
from babylon_tasks.pipeline.comparison_figures import figures_of


def register(app: typer.Typer) -> None:
    """Add this file's commands."""
    noun = typer.Typer(
        cls=Noun,
        no_args_is_help=True,
        help="What serves against an anchor, by arms: status, picture, start, stop, resume.",
    )
    for command in (status, picture, start, stop, resume):
        noun.command()(command)
    app.add_typer(noun, name="compare")


def status(json: AsJson = False) -> None:
    """Show the newest comparison: its windows, its last conclusion, and the evidence.

    JSON: {comparison: {id, anchor_step, anchor_model, parameters, began_window, actor, began_at,
    ended_why, ended_by, ended_at, conclusions: {conclusion: windows}, last: {window, conclusion,
    evidence, compared_at} or null} or null, figures: {id, anchor, began_window, arms: [{arm,
    policy, share}], windows, last_window, conclusion, reason, difference, harm, trial, gain, worse,
    needed, trial_windows, ramp: {stage, share, loss, budget} or null, refused} or null, lacks:
    {lack, text, todo} or null: what keeps one from beginning by itself, block: hours that another
    comparison would take as one, by the trials so far}.
    """
    settings = begin()
    with database(settings) as connection:
        found = comparisons.newest(connection, settings.lineage)
        report = None if found is None else _report(connection, found)
        figures = None if found is None else figures_of(connection, settings.lineage, found)
        outlook = comparison_outlook(connection, settings)
        block = block_for(comparisons.trials(connection, settings.lineage), MetricParameters().hour)
    if json:
        lacks = outlook.lacks
        as_json({"comparison": report, "figures": figures, "lacks": lacks, "block": block})
    elif found is None or figures is None or report is None:
        show(f"lineage {settings.lineage} compares nothing: {outlook.text}")
    else:
        for line in lines(found, figures):
            show(line)
        if outlook.lacks is not None:
            say(outlook.text)
        taken = report["parameters"].get("block", 1)
        if block > (settings.comparison_block or taken):
            say(
                f"hours are alike: by the trials so far {block} should count as one, and this "
                f"comparison takes {taken}; another one, by `compare start`, takes as many"
                + (" without BABYLON_COMPARISON_BLOCK" if settings.comparison_block else "")
            )


def start(
    anchor_step: Annotated[
        str | None, typer.Option(metavar="STEP", help="The anchor: a step, 7 or babylon@7.")
    ] = None,
    anchor_model: Annotated[
        str | None, typer.Option(metavar="MODEL", help="The anchor: another server's model.")
    ] = None,
    examinee: Annotated[
        str | None, typer.Option(metavar="STEP", help="A step to be tried, in an arm of its own.")
    ] = None,
    json: AsJson = False,
) -> None:
    """Compare what serves with an anchor, from the next hour on.

    Conclusions are recorded and acted upon. Against another server's model the share of what
    serves ramps up from 5 %, or 5 agents, within BABYLON_RAMP_BUDGET. Exit code 3 if a comparison
    runs, or if there are too few agents.
    JSON: {comparison}, as that of `compare status`.
    """
    settings = begin()
    if (anchor_step is None) == (anchor_model is None):
        raise typer.BadParameter("give one anchor: --anchor-step or --anchor-model")
    with database(settings) as connection:
        found = start_comparison.start(
            connection,
            settings,
            anchor_step=None if anchor_step is None else step_of(settings, anchor_step),
            anchor_model=anchor_model,
            examinee_step=None if examinee is None else step_of(settings, examinee),
            actor=actor(),
        )
        report = _report(connection, found)
    if json:
        as_json({"comparison": report})
    else:
        show(f"comparison {found.id} begins with {found.began_window}")
        say("agents must ask the gateway, with their names: else nobody is in an arm")


def stop(
    reason: Annotated[str, typer.Option(help="Why; it stays on record.")],
    serving: Annotated[
        bool,
        typer.Option("--serving", help="All get what serves, in place of another server's model."),
    ] = False,
    json: AsJson = False,
) -> None:
    """End the running comparison: from now on all agents get what serves.

    If another server's model is the anchor they get that, unless --serving, which also takes it
    back later. Exit code 3 if none runs.
    JSON: {comparison}, as that of `compare status`.
    """
    settings = begin()
    with database(settings) as connection:
        found = start_comparison.stop(
            connection, settings.lineage, reason=reason, actor=actor(), to_serving=serving
        )
        report = None if found is None else _report(connection, found)
    if found is None:
        refuse(f"lineage {settings.lineage} compares nothing, so nothing was ended")
    if json:
        as_json({"comparison": report})
    else:
        show(f"comparison {found.id} is over")


def resume(
    reason: Annotated[str, typer.Option(help="What was found; it stays on record.")],
    json: AsJson = False,
) -> None:
    """Let training go on that a comparison has paused after too many rollbacks.

    Exit code 3 if it is not paused.
    JSON: {resumed: {id, comparison_id, window, reason, actor, paused_at} or null}.
    """
    settings = begin()
    with database(settings) as connection:
        found = pauses.lift(connection, settings.lineage, reason=reason, actor=actor())
    if json:
        as_json({"resumed": found})
    if found is None:
        refuse(f"training of lineage {settings.lineage} is not paused, so nothing was resumed")
    if not json:
        show("training goes on with the next window")


def _report(connection: Connection, found: Comparison) -> dict[str, Any]:
    last = comparisons.last(connection, found.id)
    return {
        **structs.asdict(found),
        "parameters": msgspec.json.decode(found.parameters),
        "conclusions": comparisons.counts(connection, found.id),
        "last": None
        if last is None
        else {
            "window": last.window,
            "conclusion": last.conclusion,
            "evidence": msgspec.json.decode(last.evidence or "null"),
            "compared_at": last.compared_at,
        },
    }
