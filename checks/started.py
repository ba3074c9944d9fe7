"""What units run is there: commands, processes, queues, images; and together they do all work."""

from __future__ import annotations

import tomllib
from collections.abc import Iterator, Mapping
from functools import cache
from pathlib import Path
from typing import Any

import typer
from celery import Celery
from celery.bin.base import CLIContext
from celery.bin.celery import celery

from babylon_tasks.cli.program import app as cli
from babylon_tasks.processes import PROCESSES, ProcessName, command
from babylon_tasks.settings import Settings
from babylon_tasks.tasks.app import QUEUES, configuration
from checks.faults import Fault
from checks.units import Deployment, Unit

# The extra of pyproject.toml that a backend needs in the trainer's image.
EXTRAS = {"cpu": "cpu", "local": "gpu", "serverless": "train", "auto": "cpu"}
_TRAINER = "babylon-tasks-trainer-"
_PLACE = "babylon_tasks/processes.py"
_UsageError: Any = typer.BadParameter.__base__  # typer brings a click of its own


def table(settings: Settings) -> Iterator[Fault]:
    """The table of processes consumes every queue of the Celery app, and no other."""
    consumed = [queue for name in PROCESSES for queue in queues(name, settings, [])]
    for queue in dict.fromkeys(consumed):
        if queue not in QUEUES:
            yield Fault(_PLACE, f"consumes queue {queue}, which babylon_tasks/tasks/app.py has not")
    for queue in QUEUES:
        if queue not in consumed:
            yield Fault(_PLACE, f"nobody consumes queue {queue} of babylon_tasks/tasks/app.py")
    told = configuration(settings)
    routes = {task: route["queue"] for task, route in told["task_routes"].items()}
    for task, queue in {**routes, "the default": told["task_default_queue"]}.items():
        if queue not in QUEUES:
            yield Fault(
                "babylon_tasks/tasks/app.py", f"sends {task} to {queue}, no queue of QUEUES"
            )


def runs(unit: Unit, settings: Settings) -> Iterator[Fault]:
    """The unit's command is one that babylon-tasks has, and consumes queues that there are."""
    wrong = refused(list(unit.arguments))
    if wrong is not None:
        yield unit.fault(f"`babylon-tasks {' '.join(unit.arguments)}` cannot run: {wrong}")
    elif unit.process is not None:
        for queue in queues(ProcessName(unit.process), settings, _extra(unit)):
            if queue not in QUEUES:
                yield unit.fault(f"consumes queue {queue}; there are {', '.join(QUEUES)}")


def refused(arguments: list[str]) -> str | None:
    """What babylon-tasks' own command line says against these arguments."""
    root = _command_line()
    try:
        context = root.make_context("babylon-tasks", arguments)
        name, chosen, rest = root.resolve_command(
            context, [*context._protected_args, *context.args]
        )
        chosen.make_context(name, rest, parent=context)
    except _UsageError as error:
        return str(error.format_message())
    return None


@cache
def _command_line() -> Any:
    return typer.main.get_command(cli)


def together(deployment: Deployment, settings: Mapping[str, Settings]) -> Iterator[Fault]:
    """Every process is there, and every queue is consumed by somebody."""
    units = [unit for unit in deployment.units if not unit.is_optional]
    for name in PROCESSES:
        if name not in {unit.process for unit in units}:
            yield deployment.fault(f"nobody runs {name}")
    consumed = {
        queue
        for unit in units
        if unit.process in PROCESSES and unit.name in settings
        for queue in queues(ProcessName(unit.process), settings[unit.name], _extra(unit))
    }
    for queue in QUEUES:
        if queue not in consumed:
            yield deployment.fault(f"nobody consumes queue {queue}")


def built(unit: Unit, settings: Settings, root: Path) -> Iterator[Fault]:
    """The unit's image is one that the Dockerfile builds, with what its backend needs."""
    project = tomllib.loads((root / "pyproject.toml").read_text("utf-8"))["project"]
    is_trainer = unit.image_name.startswith(_TRAINER)
    extra = unit.image_name.removeprefix(_TRAINER)
    if not is_trainer and unit.image_name != "babylon-tasks-worker":
        yield unit.fault(f"image {unit.image}: the Dockerfile builds no such image")
    elif is_trainer and extra not in project["optional-dependencies"]:
        yield unit.fault(f"image {unit.image}: pyproject.toml has no extra {extra}")
    elif unit.process == ProcessName.GPU_WORKER:
        needed = EXTRAS[settings.backend]
        if not is_trainer or extra != needed:
            yield unit.fault(
                f"image {unit.image}: backend {settings.backend} needs {_TRAINER}{needed}"
            )
    elif unit.process is not None and is_trainer:
        yield unit.fault(f"image {unit.image}: {unit.process} needs no more than …-worker")


def queues(name: ProcessName, settings: Settings, extra: list[str]) -> list[str]:
    """The queues that a process consumes, by Celery's own reading of its arguments."""
    if not name.endswith("-worker"):
        return []
    arguments = command(name, settings)
    kind, *rest = [*arguments[arguments.index("worker") :], *extra]
    context = CLIContext(Celery(set_as_current=False), no_color=True, workdir=None, quiet=True)
    parsed = celery.commands[kind].make_context(kind, rest, obj=context).params
    return list(parsed["queues"])


def _extra(unit: Unit) -> list[str]:
    """What follows ``--``: more of Celery's own options."""
    given = list(unit.arguments)
    return given[given.index("--") + 1 :] if "--" in given else []
