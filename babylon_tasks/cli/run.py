"""``run``: become one of the system's processes."""

from __future__ import annotations

import os
from typing import Annotated

import typer

from babylon_tasks import tracing
from babylon_tasks.cli.context import require
from babylon_tasks.processes import OWN_PROGRAMS, ProcessName, command, prepare, withheld
from babylon_tasks.settings import load_settings


def register(app: typer.Typer) -> None:
    """Add this file's commands."""
    app.command()(run)


def run(
    process: Annotated[ProcessName, typer.Argument(metavar="PROCESS", help="Which one.")],
    extra: Annotated[
        list[str] | None,
        typer.Argument(
            metavar="[-- OPTION...]", help="Passed on to Celery; gateway and dashboard take none."
        ),
    ] = None,
) -> None:
    """Run beat, cpu-worker, gpu-worker, flower, gateway or dashboard: this process becomes it.

    Its options come from the settings. Signals, exit code and process id are its own: SIGTERM lets
    the running task, or the answers in progress, finish for BABYLON_SHUTDOWN_SECONDS, then
    interrupts them.
    """
    if process is ProcessName.FLOWER:
        require("flower")
    if process is ProcessName.GATEWAY:
        require("aiohttp", "uvicorn", extras="gateway")
    if process is ProcessName.DASHBOARD:
        require("matplotlib", "uvicorn", extras="dashboard")
    if process in OWN_PROGRAMS and extra:
        raise typer.BadParameter(f"the {process} takes no options: only Celery's processes do")
    os.environ.update(withheld(process))
    settings = load_settings()
    tracing.begin(settings)  # refuses what cannot work; a worker would log it and go on without
    if process not in OWN_PROGRAMS:  # these have no use for Redis
        from babylon_tasks.tasks.redis_connection import server

        server(settings)  # refuses a file that is not there; Celery would show a traceback
    os.environ.update(prepare(process, settings))
    arguments = [*command(process, settings), *(extra or [])]
    os.execv(arguments[0], arguments)  # noqa: S606  # deliberately without a shell
