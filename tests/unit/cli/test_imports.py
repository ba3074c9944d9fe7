"""A command imports what it needs: who types one waits for that alone."""

from __future__ import annotations

import subprocess
import sys

import pytest

from tests.command_tree import every_command

_PROGRAM = """
import sys
from babylon_tasks.cli import main
try:
    main(sys.argv[1:])
except SystemExit as ended:
    assert ended.code == 0, ended.code
print(*sys.modules)
"""
_HEAVY = {"art", "torch", "numpy", "matplotlib", "uvicorn", "fastapi", "httpx", "aiohttp"}


def imported_by(*arguments: str) -> set[str]:
    done = subprocess.run(
        [sys.executable, "-c", _PROGRAM, *arguments], capture_output=True, text=True, check=True
    )
    return set(done.stdout.splitlines()[-1].split())


def commands_in(modules: set[str]) -> set[str]:
    files = {command.callback.__module__ for _, command in every_command()}
    return modules & files


@pytest.mark.parametrize("command", [["run"], ["cost"], ["models", "list"]], ids=" ".join)
def test_a_command_imports_its_own_file_of_commands_and_no_other(command: list[str]) -> None:
    own = {found.callback.__module__ for path, found in every_command() if [*path] == command}
    assert commands_in(imported_by(*command, "--help")) == own


@pytest.mark.parametrize(
    "command", [["status"], ["windows", "list"], ["score"], ["train"], ["why"]], ids=" ".join
)
def test_no_command_imports_a_model_a_server_or_a_plot_before_it_needs_one(
    command: list[str],
) -> None:
    assert not imported_by(*command, "--help") & _HEAVY


def test_the_version_is_told_without_a_command() -> None:
    assert not commands_in(imported_by("--version"))
