"""``babylon-tasks`` and ``python -m babylon_tasks``: the command line, where it is installed."""

from __future__ import annotations

import sys

# Of the extra `server`, in the order in which the command line imports them.
_SERVER = ("typer", "rich", "celery", "kombu", "redis", "prometheus_client")


def main() -> None:
    """Run the command line; where agents alone are installed, end with what is missing."""
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


if __name__ == "__main__":
    main()
