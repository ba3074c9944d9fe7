"""Settings, logging and a checked database for a command, and its actor's name."""

from __future__ import annotations

import getpass
import os
import socket
from collections.abc import Iterator
from contextlib import contextmanager
from importlib.util import find_spec
from pathlib import Path

import typer

from babylon_tasks import log, tracing
from babylon_tasks.cli.output import say
from babylon_tasks.db import migrate, windows
from babylon_tasks.db.session import Connection, address, session
from babylon_tasks.errors import BabylonTasksError, DatabaseUnavailable, NotInstalled
from babylon_tasks.faults import Fault
from babylon_tasks.settings import Settings, load_settings

_SILENT_SECONDS = 1.0  # a restart of the server, or its first answer
_PATIENCE_SECONDS = 10.0


def begin() -> Settings:
    """Return the process's settings, with logging set up."""
    settings = load_settings()
    configure_log(settings)
    log.name_misspelt()
    tracing.begin(settings)
    return settings


def configure_log(settings: Settings) -> None:
    """Show only warnings in the log, unless DEBUG is set: a command prints its own results."""
    quiet = settings.log_level.upper() == "INFO"
    log.configure(settings.model_copy(update={"log_level": "WARNING"}) if quiet else settings)


def reach_database(settings: Settings) -> None:
    """Connect, and say so where that takes long; the connection is kept for what comes next."""
    try:
        with session(settings, patience=_SILENT_SECONDS):
            return
    except DatabaseUnavailable as error:
        if error.fault is Fault.MISCONFIGURED:
            raise
    say(f"Postgres at {address(settings)} does not answer; trying for {_PATIENCE_SECONDS:.0f} s")
    with session(settings, patience=_PATIENCE_SECONDS):
        return


@contextmanager
def database(settings: Settings) -> Iterator[Connection]:
    """Connect to a database with this code's schema; raises MigrationError otherwise."""
    reach_database(settings)
    with session(settings) as connection:
        migrate.check(connection)
        yield connection


def make_folder(option: str, folder: Path) -> None:
    """Create the folder that an option names; raises BadParameter where it cannot be written."""
    try:
        folder.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise typer.BadParameter(f"{option}: {error.filename}: {error.strerror}") from error
    if not os.access(folder, os.W_OK | os.X_OK):
        raise typer.BadParameter(f"{option}: {folder} is not writable")


def require(*packages: str, extras: str = "cpu,sandbox,flower") -> None:
    """Raise NotInstalled at once, rather than minutes later, if a package cannot be imported."""
    missing = [name.replace("_", "-") for name in packages if find_spec(name) is None]
    if missing:
        raise NotInstalled(
            f"not installed here: {', '.join(missing)}; run `pip install 'babylon-tasks[{extras}]'`"
        )


def actor() -> str:
    """Return the actor's name for the record of events."""
    try:
        user = getpass.getuser()
    except (KeyError, OSError):  # a container's bare uid
        user = "unknown"
    return f"cli:{user}@{socket.gethostname()}"


@contextmanager
def report_interruption(settings: Settings, window: str | None) -> Iterator[None]:
    """On Ctrl-C, print the window's state once the pipeline has released its claims."""
    try:
        yield
    except KeyboardInterrupt:
        say(_state_after(settings, window))
        raise


def _state_after(settings: Settings, window: str | None) -> str:
    if window is None:
        return "interrupted; every claim was released, run the same command to continue"
    try:
        with session(settings, patience=2) as connection:
            state = windows.get(connection, window).state
    except BabylonTasksError as error:
        return f"interrupted; the state of window {window} could not be read: {error}"
    return (
        f"interrupted; window {window} is {state}, no partial result counts; "
        "run the same command to continue"
    )
