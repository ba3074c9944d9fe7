"""``doctor``: every dependency and setting, what is wrong, and what to do about it."""

from __future__ import annotations

from contextlib import nullcontext

import typer
from rich.text import Text

from babylon_tasks.cli.checks import Finding, examine
from babylon_tasks.cli.context import begin
from babylon_tasks.cli.output import AsJson, ExitCode, as_json, err, out, say
from babylon_tasks.log import Mask
from babylon_tasks.settings import Settings

_STYLES = {"ok": "green", "warn": "yellow", "fail": "bold red"}


def register(app: typer.Typer) -> None:
    """Add this file's commands."""
    app.command()(doctor)


def doctor(json: AsJson = False) -> None:
    """Check every dependency and setting; say what is wrong and what to do.

    Exit code 1 if a check fails; warnings do not count.
    JSON: {"findings": [{check, outcome: ok|warn|fail, detail, todo}]}.
    """
    settings = begin()
    found: list[Finding] = []
    with err.status("looking", spinner="dots") if err.is_terminal else nullcontext():
        for finding in examine(settings):
            found.append(_masked(settings, finding))
            if not json:
                _show(found[-1])
    if json:
        as_json({"findings": found})
    failed = [finding.check for finding in found if finding.outcome == "fail"]
    if failed:
        say(f"not ready: {', '.join(failed)}")
        raise typer.Exit(ExitCode.FAILED)
    warned = sum(finding.outcome == "warn" for finding in found)
    say(f"ready, with {warned} warnings" if warned else "ready")


def _show(finding: Finding) -> None:
    line = Text(f"{finding.outcome:<5}", style=_STYLES[finding.outcome])
    line.append(f"{finding.check:<13} ", style="bold")
    line.append(finding.detail, style="default")
    if finding.todo is not None:
        line.append(f"\n      → {finding.todo}", style="default")
    out.print(line)


def _masked(settings: Settings, finding: Finding) -> Finding:
    # Details quote what servers and drivers said.
    mask = Mask(settings)
    return Finding(finding.check, finding.outcome, mask.text(finding.detail), finding.todo)
