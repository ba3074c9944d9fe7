"""``screen``: ask a checkpoint and what serves held-out questions, and compare their answers."""

from __future__ import annotations

from typing import Annotated, Any

import typer
from msgspec import structs

from babylon_tasks.cli.context import actor, begin, database, require
from babylon_tasks.cli.models import step_of
from babylon_tasks.cli.output import AsJson, ExitCode, as_json, progress_bar, say, show
from babylon_tasks.db.screens import Screen
from babylon_tasks.errors import NothingServes
from babylon_tasks.pipeline.screen import screen as run
from babylon_tasks.policy_names import policy_name
from babylon_tasks.registry import serving
from babylon_tasks.registry.screen_rule import ScreenResult
from babylon_tasks.training.ask_policies import PolicyServer

_EXITS = {
    ScreenResult.PASSED: ExitCode.DONE,
    ScreenResult.REFUSED: ExitCode.FAILED,
    ScreenResult.TOO_FEW: ExitCode.REFUSED,
}


def register(app: typer.Typer) -> None:
    """Add this file's command."""
    app.command()(screen)


def screen(
    step: Annotated[str, typer.Argument(metavar="STEP", help="A step: 7, or babylon@7.")],
    again: Annotated[
        bool, typer.Option("--again", help="Ask again what was asked and compared before.")
    ] = False,
    json: AsJson = False,
) -> None:
    """Screen a checkpoint against what serves: has it collapsed? Decides nothing by itself.

    Asks where agents ask, with the key of the settings. Exit code 1 if the checkpoint is refused,
    3 if there are too few held-out questions.
    JSON: {screen, step, serving_step, against: serving or recorded, questions, result: passed,
    refused or too_few, reason, figures, actor, began_at, ended_at}.
    """
    settings = begin()
    require("openai", extras="openai")
    number = step_of(settings, step)
    with database(settings) as connection:
        serves = serving.serving(connection, settings.lineage)
    if serves.base_url is None:
        raise NothingServes(
            f"lineage {settings.lineage} has no address yet, so nothing was screened; start a "
            "gpu-worker"
        )
    server = PolicyServer(serves.base_url, serves.api_key(settings))
    with progress_bar("screening") as report:
        found = run(
            settings,
            server,
            number,
            actor=actor(),
            on_progress=lambda progress: report(progress.done, progress.total),
            again=again,
        )
    if json:
        as_json(screen_report(found))
    else:
        show(describe(settings.lineage, found))
    if found.result == ScreenResult.TOO_FEW:
        say("BABYLON_MIN_SCREEN_QUESTIONS is the least; held-out hours bring more")
    raise typer.Exit(_EXITS[ScreenResult(found.result or "")])


def describe(lineage: str, found: Screen) -> str:
    """Describe a screen in one line."""
    name = policy_name(lineage, found.step)
    if found.result is None:
        return f"screen {found.id} of {name} began at {found.began_at:%F %T} and has not ended"
    return f"screen {found.id} of {name} {_ENDS[ScreenResult(found.result)]}: {found.reason}"


_ENDS = {
    ScreenResult.PASSED: "passed",
    ScreenResult.REFUSED: "refused it",
    ScreenResult.TOO_FEW: "decided nothing",
}


def screen_report(found: Screen) -> dict[str, Any]:
    """Build the JSON of a screen."""
    fields = structs.asdict(found)
    return {"screen": fields.pop("id"), **fields}
