"""How tests type commands: in this process or in one of its own, and what came of it."""

from __future__ import annotations

import json
import subprocess
from collections.abc import Callable
from typing import Any

import pytest
from factories import (
    WINDOW,
    fill_window,
)

from babylon_tasks.db.session import Connection

SECRET = "planted-secret-9f2c"
# What these show does not lie in Babylon's tables, though a command looks for them first.
one_contract = pytest.mark.contract("today")
Run = Callable[..., "Result"]


class Result:
    """How a command ended, and what it printed to which stream."""

    def __init__(self, code: int, out: str, err: str) -> None:
        self.code, self.out, self.err = code, out, err

    @property
    def document(self) -> Any:
        return json.loads(self.out)


def finished(process: subprocess.Popen[str]) -> Result:
    out, err = process.communicate(timeout=60)
    return Result(process.returncode, out, err)


def sealed(run: Run, connection: Connection) -> str:
    """A window that has been opened and sealed as beat would do it."""
    fill_window(connection)
    assert run("windows", "backfill", "--since", WINDOW).code == 0
    return WINDOW
