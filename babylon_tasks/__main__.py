"""``babylon-tasks`` and ``python -m babylon_tasks``: the command line, where it is installed."""

from __future__ import annotations

import os
import sys
from pathlib import Path

# Of the extra `server`, in the order in which the command line imports them.
_SERVER = ("typer", "rich", "celery", "kombu", "redis", "prometheus_client")


def main() -> None:
    """Run the command line; where agents alone are installed, end with what is missing."""
    open_closed_streams()
    try:
        from babylon_tasks.cli import main as command_line
    except ModuleNotFoundError as error:
        if error.name not in _SERVER:
            raise
        sys.exit(
            f"not installed here: {error.name}; the command line needs more than the agents' "
            "recorder: run `pip install 'babylon-tasks[server]'`"
        )
    command_line()


def open_closed_streams() -> None:
    """Lead the standard streams that are closed (``>&-``) nowhere, for children as well.

    Python has None in their place, on which whatever prints would fail; and the next file or
    connection would get the number of the stream, and what others print into it.
    """
    for name, mode in (("stdin", "r"), ("stdout", "w"), ("stderr", "w")):
        if getattr(sys, name) is None:
            nowhere = Path(os.devnull).open(mode, encoding="utf-8")  # noqa: SIM115  # as long as we run
            os.set_inheritable(nowhere.fileno(), True)
            setattr(sys, name, nowhere)


if __name__ == "__main__":
    main()
