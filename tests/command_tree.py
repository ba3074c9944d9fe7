"""Every command of the command line, by its path."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

from typer.main import get_command

from babylon_tasks.cli.program import app


def every_command(group: Any = None, *path: str) -> Iterator[tuple[tuple[str, ...], Any]]:
    """The path of every command, such as ("windows", "list"), and the command."""
    group = get_command(app) if group is None else group
    context = group.context_class(group)
    for name in group.list_commands(context):
        command = group.get_command(context, name)
        if hasattr(command, "list_commands"):
            yield from every_command(command, *path, name)
        else:
            yield (*path, name), command
