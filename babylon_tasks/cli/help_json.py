"""What ``--json`` prints is in a command's docstring and shown by ``--help-json``, not by help."""

from __future__ import annotations

import inspect
import re
from typing import Any

from babylon_tasks.cli.output import show

OPTION = "--help-json"
_SHAPE = re.compile(r"(?<!\S)(?:JSON(?: of [a-z ]+)?|The report): \{")
_REFERENCE = f"{OPTION} shows what the JSON has."
_KEPT = "json_shape"


def set_aside(command: Any) -> None:
    """Take the shape of its JSON out of a command's help."""
    text = inspect.cleandoc(command.help or "")
    found = _SHAPE.search(text)
    if found is not None:
        setattr(command, _KEPT, " ".join(text[found.start() :].split()))
        command.help = f"{text[: found.start()].rstrip()}\n\n{_REFERENCE}"


def show_shape(command: Any) -> bool:
    """Print the shape of a command's JSON; False where it has none."""
    shape: str | None = getattr(command, _KEPT, None)
    if shape is None:
        return False
    for line in re.split(r" (?=JSON of |Of babylon:)", shape):
        show(line)
    return True
