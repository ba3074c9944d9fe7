"""Flower's list of tasks is whole after a kill at any moment of its saving."""

from __future__ import annotations

import signal
import subprocess
import sys
from pathlib import Path
from types import SimpleNamespace

import pytest
from structlog.testing import capture_logs

from babylon_tasks.tasks.flower.bounded_state import BoundedState
from babylon_tasks.tasks.flower.saved_events import SavedEvents

pytestmark = pytest.mark.contract(None)

# Kills itself instead of the system call that is given by its number; ends well if there are fewer.
SAVES = """
import os, pickle, signal, sys
from pathlib import Path
from types import SimpleNamespace
from babylon_tasks.tasks.flower.bounded_state import BoundedState
from babylon_tasks.tasks.flower.saved_events import SavedEvents

state = BoundedState()
state.counter["cpu@here"]["task-sent"] = 2
fatal, calls = int(sys.argv[2]), 0

def audit(event, arguments):
    global calls
    if event in ("open", "os.rename", "os.remove", "os.truncate"):
        calls += 1
        if calls == fatal:
            os.kill(os.getpid(), signal.SIGKILL)

sys.addaudithook(audit)
SavedEvents.save_state(SimpleNamespace(db=sys.argv[1], state=state))
"""


def events(path: Path, state: BoundedState | None = None) -> SavedEvents:
    """As much of Flower's reader as its file needs."""
    return SimpleNamespace(db=str(path), state=state)


def test_a_kill_at_any_moment_leaves_the_old_list_or_the_new_one(tmp_path: Path) -> None:
    path = tmp_path / "flower"
    counted = []
    for fatal in range(1, 20):
        state = BoundedState()
        state.counter["cpu@here"]["task-sent"] = 1
        SavedEvents.save_state(events(path, state))

        command = [sys.executable, "-c", SAVES, str(path), str(fatal)]
        ended = subprocess.run(command, check=False)

        read = SavedEvents.load_state(events(path))
        assert isinstance(read, BoundedState)
        counted.append(read.counter["cpu@here"]["task-sent"])
        if ended.returncode == 0:
            break
        assert ended.returncode == -signal.SIGKILL
    assert counted == [1] * (len(counted) - 1) + [2]
    assert len(counted) > 2, "it was killed more than once"


def test_there_is_no_list_before_the_first_save(tmp_path: Path) -> None:
    assert SavedEvents.load_state(events(tmp_path / "flower")) is None


@pytest.mark.parametrize("damaged", [b"", b"not a pickle", b"\x80\x05K\x01."])
def test_a_damaged_file_is_kept_aside_and_logged(tmp_path: Path, damaged: bytes) -> None:
    path = tmp_path / "flower"
    path.write_bytes(damaged)

    with capture_logs() as logged:
        assert SavedEvents.load_state(events(path)) is None

    assert [left.name for left in tmp_path.iterdir()] == ["flower.corrupt"]
    assert (tmp_path / "flower.corrupt").read_bytes() == damaged
    assert [(line["event"], line["moved_to"]) for line in logged] == [
        ("flower_file.set_aside", f"{path}.corrupt")
    ]
    assert "babylon-tasks why" in logged[0]["todo"]
