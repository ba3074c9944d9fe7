"""The command line's root: help, exit codes, and how errors reach the reader."""

from __future__ import annotations

import signal
import sys
import traceback
from collections.abc import Sequence
from typing import Annotated

import typer

from babylon_tasks import __version__
from babylon_tasks.cli.nouns import Root
from babylon_tasks.cli.output import ExitCode, accept_every_terminal, say, show
from babylon_tasks.errors import (
    BabylonTasksError,
    BadWindowId,
    CheckpointRefused,
    FolderInUse,
    IllegalTransition,
    SettingsError,
    StaleLease,
)
from babylon_tasks.faults import Fault, fault_of
from babylon_tasks.mask_secrets import Mask
from babylon_tasks.plain_text import plain
from babylon_tasks.settings import load_settings

_HELP = """Turn the recorded hours of Babylon's agents into a better model.

Settings come from the environment and from files that it names: DATABASE_URL, REDIS_URL,
WANDB_API_KEY and BABYLON_*. Results go to standard output, remarks and progress to standard error.

Exit codes: 0 done, or nothing was left to do; 1 failed; 2 wrong usage or settings; 3 refused,
nothing changed: not possible in this state, or claimed by another process; 130
interrupted by Ctrl-C or SIGTERM (`up`, which runs until then, ends with 0).
"""

app = typer.Typer(
    name="babylon-tasks",
    cls=Root,
    help=_HELP,
    no_args_is_help=True,
    context_settings={"help_option_names": ["-h", "--help"]},
    pretty_exceptions_enable=False,  # main() prints errors: one line, no secrets
    rich_markup_mode=None,
)


def _print_version(asked: bool) -> None:
    if asked:
        show(f"babylon-tasks {__version__}")
        raise typer.Exit


@app.callback()
def _root(
    version: Annotated[
        bool,
        typer.Option("--version", callback=_print_version, is_eager=True, help="Print version."),
    ] = False,
) -> None:
    del version  # handled by its callback


def main(arguments: Sequence[str] | None = None) -> None:
    """Run one command and exit with its code; SIGTERM counts as Ctrl-C."""
    # By default it would end Python at once, with a window still claimed and children running.
    signal.signal(signal.SIGTERM, signal.default_int_handler)
    accept_every_terminal()
    for argument in sys.argv[1:] if arguments is None else arguments:
        if plain(argument) != argument:  # typer would print it unchanged
            _end(ExitCode.USAGE, f"control characters in an argument: {plain(argument)}")
    try:
        app(arguments, prog_name="babylon-tasks")
    except (SettingsError, BadWindowId) as error:
        _end(ExitCode.USAGE, str(error))
    except (IllegalTransition, StaleLease, CheckpointRefused, FolderInUse) as error:
        _end(ExitCode.REFUSED, str(error))
    except BabylonTasksError as error:
        _end(ExitCode.FAILED, str(error))
    except Exception as error:  # noqa: BLE001  # printed with its traceback, secrets masked
        if isinstance(error, OSError) and fault_of(error) is Fault.DISK_FULL:
            where = error.filename or "the output"
            _end(ExitCode.FAILED, f"{where} cannot be written: {error.strerror}")
        _end(ExitCode.FAILED, f"{traceback.format_exc()}\nThis is a bug in babylon-tasks.")


def _end(code: ExitCode, line: str) -> None:
    say(_masked(line))
    sys.exit(code)


def _masked(line: str) -> str:
    try:
        settings = load_settings()
    except SettingsError:  # `demo` and `up` need none; their generated secrets look like URLs
        settings = None
    return Mask(settings).text(line)
