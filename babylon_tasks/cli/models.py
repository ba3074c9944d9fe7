"""``models list|promote|refuse|rollback``: checkpoints, and which one serves."""

from __future__ import annotations

from typing import Annotated

import typer

from babylon_tasks.cli.context import actor, begin, database
from babylon_tasks.cli.limits import Limit
from babylon_tasks.cli.nouns import Noun
from babylon_tasks.cli.output import AsJson, as_json, say_left_out, show, table
from babylon_tasks.db import reports, run_report
from babylon_tasks.db.reports import CheckpointReport
from babylon_tasks.decisions import Decision
from babylon_tasks.policy_names import policy_name, step_number
from babylon_tasks.registry import serving
from babylon_tasks.settings import Settings

ReasonOption = Annotated[str, typer.Option(help="The reason, stored with the decision.")]


def register(app: typer.Typer) -> None:
    """Add this file's commands."""
    models = typer.Typer(cls=Noun, no_args_is_help=True, help="Checkpoints, and which one serves.")
    models.command("list")(list_models)
    models.command()(promote)
    models.command()(refuse)
    models.command()(rollback)
    app.add_typer(models, name="models")


def list_models(
    limit: Limit = 100,
    json: AsJson = False,
) -> None:
    """List the lineage's checkpoints, newest first, with their values and which one serves.

    JSON: {lineage, models: [{step, inference_name, serving, head, created_at, value, coverage,
    groups, decision, reason, actor, returned_to, uri, content_hash, pruned_at}],
    truncated}.
    """
    settings = begin()
    with database(settings) as connection:
        found = reports.models(connection, settings.lineage, limit=limit)
        every = len(found)
        if every == limit:
            every = run_report.how_many_checkpoints(connection, settings.lineage)
    left_out = every - len(found)
    if json:
        as_json({"lineage": settings.lineage, "models": found, "truncated": left_out > 0})
        return
    columns = ("model", "serves", "made (UTC)", "value#", "groups#", "decision", "why")
    table(
        None,
        columns,
        (
            (
                model.inference_name,
                "serves" if model.serving else "pruned" if model.pruned_at else "",
                model.created_at,
                model.value,
                model.groups,
                _decided(model),
                model.reason or "",
            )
            for model in found
        ),
        spare=("groups#", "made (UTC)"),
        empty=f"lineage {settings.lineage} has no checkpoint: no trainer has served it yet; "
        "`babylon-tasks run gpu-worker` starts one, `babylon-tasks doctor` says what it lacks",
    )
    say_left_out(left_out, "older", f"--limit {every} shows all")


def _decided(model: CheckpointReport) -> str | None:
    """Name the decision, with a word of its own for each of the two checkpoints of a rollback."""
    if model.decision is not Decision.ROLLBACK:
        return model.decision
    return "returned to" if model.returned_to else "rolled back"


def promote(
    step: Annotated[str, typer.Argument(metavar="STEP", help="A step: 7, or babylon@7.")],
    reason: ReasonOption = "manual",
    json: AsJson = False,
) -> None:
    """Make a committed checkpoint serve. JSON: {serving, changed}."""
    settings = begin()
    number = step_of(settings, step)
    with database(settings) as connection:
        changed = serving.promote(
            connection, settings.lineage, number, reason=reason, figures={}, actor=actor()
        )
    _show_result(settings, number, changed, json)


def refuse(
    step: Annotated[str, typer.Argument(metavar="STEP", help="A step: 7, or babylon@7.")],
    reason: ReasonOption = "manual",
    json: AsJson = False,
) -> None:
    """Refuse a checkpoint that does not serve: the next step starts without it.

    JSON: {serving, refused}.
    """
    settings = begin()
    number = step_of(settings, step)
    with database(settings) as connection:
        now = serving.refuse(connection, settings.lineage, number, reason=reason, actor=actor())
    if json:
        as_json({"serving": now, "refused": number})
        return
    refused, still = (policy_name(settings.lineage, one) for one in (number, now))
    show(f"{refused} is refused, {still} serves")


def rollback(
    step: Annotated[
        str | None, typer.Argument(metavar="[STEP]", help="By default the one that served before.")
    ] = None,
    reason: ReasonOption = "manual",
    json: AsJson = False,
) -> None:
    """Return to an earlier checkpoint; the gate does not promote the later one again.

    JSON: {serving, changed}.
    """
    settings = begin()
    to = None if step is None else step_of(settings, step)
    with database(settings) as connection:
        before = serving.serving(connection, settings.lineage).step
        after = serving.rollback(connection, settings.lineage, reason=reason, actor=actor(), to=to)
    _show_result(settings, after, after != before, json)


def step_of(settings: Settings, text: str) -> int:
    """Read a step's number from ``7`` or ``babylon@7``; raises BadParameter."""
    number = step_number(text.removeprefix(f"{settings.lineage}@"))
    if number is None:
        lineage = settings.lineage
        raise typer.BadParameter(
            f"{text!r} is not a step of lineage {lineage}; write its number, as 7 or {lineage}@7"
        )
    return number


def _show_result(settings: Settings, step: int, changed: bool, json: bool) -> None:
    if json:
        as_json({"serving": step, "changed": changed})
    else:
        show(
            f"{policy_name(settings.lineage, step)} {'serves now' if changed else 'serves already'}"
        )
