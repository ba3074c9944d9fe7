"""Settings, logging and a checked database for a command; who acts, for the record."""

from __future__ import annotations

import getpass
import os
import socket
from collections.abc import Iterator
from contextlib import contextmanager
from importlib.util import find_spec
from pathlib import Path

import typer

from babylon_tasks import log
from babylon_tasks.cli.output import say
from babylon_tasks.db import migrate, windows
from babylon_tasks.db.session import Connection, session
from babylon_tasks.errors import BabylonTasksError, NotInstalled
from babylon_tasks.settings import Settings, load_settings


def begin() -> Settings:
    """The process's settings, with logging set up."""
    settings = load_settings()
    configure_log(settings)
    return settings


def configure_log(settings: Settings) -> None:
    """A command tells its own story: the log shows warnings only, unless DEBUG is asked for."""
    quiet = settings.log_level.upper() == "INFO"
    log.configure(settings.model_copy(update={"log_level": "WARNING"}) if quiet else settings)


@contextmanager
def database(settings: Settings) -> Iterator[Connection]:
    """A connection to a database of this code's schema; raises MigrationError otherwise."""
    with session(settings) as connection:
        migrate.check(connection)
        yield connection


def make_folder(option: str, folder: Path) -> None:
    """Make the folder that an option names; raises BadParameter where nothing can be written."""
    try:
        folder.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise typer.BadParameter(f"{option}: {error.filename}: {error.strerror}") from error
    if not os.access(folder, os.W_OK | os.X_OK):
        raise typer.BadParameter(f"{option}: {folder} cannot be written")


def require(*packages: str) -> None:
    """Raise NotInstalled, now rather than minutes later, where a package cannot be imported."""
    missing = [name.replace("_", "-") for name in packages if find_spec(name) is None]
    if missing:
        raise NotInstalled(
            f"not installed here: {', '.join(missing)}; "
            "run `pip install 'babylon-tasks[cpu,sandbox,flower]'`"
        )


def actor() -> str:
    """Who acts, as it stands in the record of decisions."""
    try:
        user = getpass.getuser()
    except (KeyError, OSError):  # a container's bare uid
        user = "unknown"
    return f"cli:{user}@{socket.gethostname()}"


@contextmanager
def told_when_interrupted(settings: Settings, window: str | None) -> Iterator[None]:
    """On Ctrl-C, say where the window stands after the pipeline has given back its claims."""
    try:
        yield
    except KeyboardInterrupt:
        say(_standing(settings, window))
        raise


def _standing(settings: Settings, window: str | None) -> str:
    if window is None:
        return "interrupted; every claim was given back, run the same command to go on"
    try:
        with session(settings, patience=2) as connection:
            state = windows.get(connection, window).state
    except BabylonTasksError as error:
        return f"interrupted; where window {window} stands could not be read: {error}"
    return (
        f"interrupted; window {window} is {state}, nothing half done counts; "
        "run the same command to go on"
    )
