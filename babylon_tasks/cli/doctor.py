"""``doctor``: check every dependency and setting, and say what to do."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import nullcontext

import typer
from msgspec import structs
from rich.text import Text

from babylon_tasks.cli.checks import examine
from babylon_tasks.cli.context import configure_log
from babylon_tasks.cli.findings import Finding
from babylon_tasks.cli.output import AsJson, ExitCode, as_json, err, out, say
from babylon_tasks.errors import SettingsError
from babylon_tasks.mask import Mask
from babylon_tasks.plain_text import plain
from babylon_tasks.setting_names import misspelt
from babylon_tasks.settings import Settings, load_settings

_STYLES = {"ok": "green", "warn": "yellow", "fail": "bold red"}


def register(app: typer.Typer) -> None:
    """Add this file's commands."""
    app.command()(doctor)


def doctor(json: AsJson = False) -> None:
    """Check every dependency and setting; print what is wrong and what to do.

    Exit code 1 if a check fails; warnings do not count.
    JSON: {"findings": [{check, outcome: ok|warn|fail, detail, todo}]}.
    """
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
