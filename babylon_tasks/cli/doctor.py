"""``doctor``: check every dependency and setting, and say what to do."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import nullcontext
from typing import Annotated

import typer
from msgspec import structs
from rich.text import Text

from babylon_tasks.cli.checks import examine
from babylon_tasks.cli.context import begin, configure_log, database
from babylon_tasks.cli.findings import Finding
from babylon_tasks.cli.output import AsJson, ExitCode, as_json, err, out, say, table
from babylon_tasks.db.invariants import names, violations
from babylon_tasks.errors import SettingsError
from babylon_tasks.mask_secrets import Mask
from babylon_tasks.plain_text import plain
from babylon_tasks.setting_names import misspelt
from babylon_tasks.settings import Settings, load_settings

_STYLES = {"ok": "green", "warn": "yellow", "fail": "bold red"}


def register(app: typer.Typer) -> None:
    """Add this file's commands."""
    app.command()(doctor)


def doctor(
    invariants: Annotated[
        bool,
        typer.Option(
            "--invariants",
            help="Check instead what must be true in the database at any moment; reads whole "
            "tables.",
        ),
    ] = False,
    json: AsJson = False,
) -> None:
    """Check every dependency and setting; print what is wrong and what to do.

    Exit code 1 if a check fails or an invariant is violated; warnings do not count.
    JSON: {"findings": [{check, outcome: ok|warn|fail, detail, todo}]};
    with --invariants {"invariants": [...], "violations": [{invariant, window, what}]}.
    """
    if invariants:
        _check_invariants(json=json)
        return
    found: list[Finding] = []
    with err.status("looking", spinner="dots") if err.is_terminal else nullcontext():
        for finding in _findings():
            found.append(finding)
            if not json:
                _show(finding)
    if json:
        as_json({"findings": found})
    failed = [finding.check for finding in found if finding.outcome == "fail"]
    if failed:
        say(f"not ready: {', '.join(failed)}")
        raise typer.Exit(ExitCode.FAILED)
    warned = sum(finding.outcome == "warn" for finding in found)
    say(f"ready, with {warned} warnings" if warned else "ready")


def _check_invariants(*, json: bool) -> None:
    settings = begin()
    with database(settings) as connection:
        found = violations(connection, settings)
    if json:
        as_json({"invariants": names(), "violations": found})
    elif found:
        rows = ((one.invariant, one.window, one.what) for one in found)
        table(None, ("invariant", "window", "what"), rows)
    if found:
        say(
            f"{len(found)} violations; `babylon-tasks why` shows what happened to a window. "
            "Report them with the output of this command"
        )
        raise typer.Exit(ExitCode.FAILED)
    say(f"none of the {len(names())} invariants is violated")


def _findings() -> Iterator[Finding]:
    try:
        settings = load_settings()
        configure_log(settings)
    except SettingsError as error:
        todo = "correct it, or unset it; the other checks need valid settings"
        yield Finding("settings", "fail", str(error), todo)
        return
    yield Finding("settings", "ok", f"read; lineage {settings.lineage}", None)
    for what in misspelt(Settings):
        yield Finding("settings", "warn", what, "correct the name, or unset it")
    mask = Mask(settings)  # details quote messages of servers and drivers
    for finding in examine(settings):
        yield structs.replace(finding, detail=mask.text(finding.detail))


def _show(finding: Finding) -> None:
    line = Text(f"{finding.outcome:<5}", style=_STYLES[finding.outcome])
    line.append(f"{finding.check:<13} ", style="bold")
    line.append(plain(finding.detail), style="default")
    if finding.todo is not None:
        line.append(f"\n      → {plain(finding.todo)}", style="default")
    out.print(line)
