"""A stream that was closed, or that takes no more, is no reason for a traceback."""

from __future__ import annotations

import subprocess
import sys

import pytest

CLOSED = ["<&-", ">&-", "2>&-", ">&- 2>&-", "<&- >&- 2>&-"]
_SCRIPT = 'exec "$0" -m babylon_tasks "$@" '


def typed(redirected: str, *arguments: str) -> subprocess.CompletedProcess[str]:
    shell = ["sh", "-c", _SCRIPT + redirected, sys.executable, *arguments]
    return subprocess.run(shell, capture_output=True, text=True, check=False)


@pytest.mark.parametrize("redirected", CLOSED)
def test_a_command_does_its_work_whichever_streams_are_closed(redirected: str) -> None:
    done = typed(redirected, "--version")
    assert (done.returncode, done.stderr) == (0, "")
    assert done.stdout.startswith("babylon-tasks") is (">&-" not in redirected.split())
    assert typed(redirected, "nonsense").returncode == 2


@pytest.mark.parametrize("redirected", CLOSED)
def test_what_it_opens_takes_no_streams_number_nor_do_its_children_lack_one(
    redirected: str,
) -> None:
    program = (
        "import os, subprocess, sys; from babylon_tasks.__main__ import open_closed_streams;"
        "open_closed_streams();"
        "assert os.open(os.devnull, os.O_RDONLY) > 2;"
        "child = 'import sys; sys.exit(None in (sys.stdin, sys.stdout, sys.stderr))';"
        "sys.exit(subprocess.run([sys.executable, '-c', child]).returncode)"
    )
    shell = ["sh", "-c", f'exec "$0" -c "$1" {redirected}', sys.executable, program]
    assert subprocess.run(shell, capture_output=True, check=False).returncode == 0


@pytest.mark.parametrize("arguments", [["--version"], ["-h"], ["status", "--help-json"]])
def test_an_output_for_which_there_is_no_room_is_one_line(arguments: list[str]) -> None:
    done = typed(">/dev/full", *arguments)
    assert done.returncode == 1
    assert done.stderr == "the output cannot be written: No space left on device\n"
