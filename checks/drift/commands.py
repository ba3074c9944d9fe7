"""Check that units run existing commands, processes, queues, images; and do all the work."""

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
from babylon_tasks.tasks.app import configuration
from babylon_tasks.tasks.app import queues as queues_of
from checks.drift.containers import Deployment, Unit
from checks.violations import Violation

# The extra of pyproject.toml that a backend needs in the trainer's image.
EXTRAS = {"cpu": "cpu", "local": "gpu", "serverless": "train", "auto": "cpu"}
_TRAINER = "babylon-tasks-trainer-"
_GATEWAY = "babylon-tasks-gateway"
_TABLE = "babylon_tasks/processes.py"
_APP = "babylon_tasks/tasks/app.py"
_UsageError: Any = typer.BadParameter.__base__  # typer brings a click of its own


def table(settings: Settings) -> Iterator[Violation]:
    """Check that the table of processes consumes every queue of the Celery app, and no other."""
    consumed = [queue for name in PROCESSES for queue in queues(name, settings, [])]
    ours = queues_of(settings)
    for queue in dict.fromkeys(consumed):
        if queue not in ours:
            yield Violation(_TABLE, f"consumes queue {queue}, which {_APP} does not have")
    for queue in ours:
        if queue not in consumed:
            yield Violation(_TABLE, f"no process consumes queue {queue} of {_APP}")
    given = configuration(settings)
    routes = {task: route["queue"] for task, route in given["task_routes"].items()}
    for task, queue in {**routes, "the default": given["task_default_queue"]}.items():
        if queue not in ours:
            yield Violation(_APP, f"sends {task} to {queue}, which is not one of its queues")


def runs(unit: Unit, settings: Settings) -> Iterator[Violation]:
    """Check that the unit's command exists, and waits for its schema and uses existing queues."""
    wrong = refused(list(unit.arguments))
    if wrong is not None:
        yield unit.violation(f"`babylon-tasks {' '.join(unit.arguments)}` cannot run: {wrong}")
    elif unit.process is not None:
        ours = queues_of(settings)
        for queue in consumed(unit, settings):
            if queue not in ours:
                yield unit.violation(f"consumes queue {queue}; there are {', '.join(ours)}")
        if unit.process != ProcessName.FLOWER and not unit.waits_for_schema:
            yield unit.violation(
                "would work on a schema that is not its own: it must wait for migrate, in Compose "
                "with condition: service_completed_successfully, in k8s/ with an init container "
                "of the same image that runs [migrate, --status]"
            )


def refused(arguments: list[str]) -> str | None:
    """Return what babylon-tasks' own command line says against these arguments."""
    root = _command_line()
    try:
        context = root.make_context("babylon-tasks", arguments)
        name, chosen, rest = root.resolve_command(
            context, [*context._protected_args, *context.args]
        )
        chosen.make_context(name, rest, parent=context)
    except _UsageError as error:
        return str(error.format_message())
    except typer.Exit:
        pass  # --help and --version end it here
    return None


@cache
def _command_line() -> Any:
    return typer.main.get_command(cli)


def together(deployment: Deployment, settings: Mapping[str, Settings]) -> Iterator[Violation]:
    """Check that every process is run, and every queue consumed."""
    units = [unit for unit in deployment.units if not unit.is_optional]
    for name in set(PROCESSES) - {unit.process for unit in units}:
        yield deployment.violation(f"no unit runs {name}")
    read = [unit for unit in units if unit.process in PROCESSES and unit.name in settings]
    needed = {queue for unit in read for queue in queues_of(settings[unit.name])}
    for queue in needed - {q for unit in read for q in consumed(unit, settings[unit.name])}:
        yield deployment.violation(f"no unit consumes queue {queue}")


def built(unit: Unit, settings: Settings, root: Path) -> Iterator[Violation]:
    """Check that the Dockerfile builds the unit's image, of this version, for its backend."""
    project = tomllib.loads((root / "pyproject.toml").read_text("utf-8"))["project"]
    is_trainer = unit.image_name.startswith(_TRAINER)
    extra = unit.image_name.removeprefix(_TRAINER)
    needed = EXTRAS[settings.backend]
    what = None
    if not is_trainer and unit.image_name not in ("babylon-tasks-worker", _GATEWAY):
        what = "the Dockerfile builds no such image"
    elif is_trainer and extra not in project["optional-dependencies"]:
        what = f"pyproject.toml has no extra {extra}"
    elif unit.process == ProcessName.GPU_WORKER and (not is_trainer or extra != needed):
        what = f"backend {settings.backend} needs {_TRAINER}{needed}"
    elif unit.process == ProcessName.CPU_WORKER and uses_ruler(settings):
        if not is_trainer:
            what = f"the scorer ruler needs ART: {_TRAINER}train"
    elif unit.process is not None and (unit.process == ProcessName.GATEWAY) != (
        unit.image_name == _GATEWAY
    ):
        what = f"{_GATEWAY} is for the gateway, and for nothing else"
    elif unit.process not in (None, ProcessName.GPU_WORKER) and is_trainer:
        what = f"{unit.process} needs no more than …-worker"
    elif unit.image.partition("@")[0].rpartition(":")[2] != project["version"]:
        what = f"pyproject.toml says version {project['version']}"
    if what is not None:
        yield unit.violation(f"image {unit.image}: {what}")


def uses_ruler(settings: Settings) -> bool:
    """Check whether these settings have an LLM grade."""
    return "ruler" in (settings.scorer, *settings.archetype_scorers.values())


def consumed(unit: Unit, settings: Settings) -> list[str]:
    """List the queues that a unit's process consumes; Celery's own options follow ``--``."""
    given = list(unit.arguments)
    extra = given[given.index("--") + 1 :] if "--" in given else []
    return queues(ProcessName(str(unit.process)), settings, extra)


def queues(name: ProcessName, settings: Settings, extra: list[str]) -> list[str]:
    """List the queues that a process consumes, as Celery parses its arguments."""
    if not name.endswith("-worker"):
        return []
    arguments = command(name, settings)
    kind, *rest = [*arguments[arguments.index("worker") :], *extra]
    context = CLIContext(Celery(set_as_current=False), no_color=True, workdir=None, quiet=True)
    parsed = celery.commands[kind].make_context(kind, rest, obj=context).params
    return list(parsed["queues"])
