"""`make test-clock`: what preloads the moved clock lives by it, and waits no longer for it."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest

from checks.clock.moved_clock import MovedClock

LEAP_DAY = 2214086398  # 2040-02-28T23:59:58Z
_TELL = """
import json, os, subprocess, sys, threading, time
from datetime import UTC, datetime
from pathlib import Path
from checks.clock.moved_clock import MovedClock

clock = MovedClock(Path(sys.argv[1]))
monotonic = time.monotonic()
clock.stand_at(datetime(2040, 2, 28, 23, 59, 58, tzinfo=UTC))
threading.Event().wait(0.01)
time.sleep(0.01)
child = int(subprocess.check_output(["date", "+%s"]))
forward = time.monotonic() - monotonic
print(json.dumps({"here": time.time(), "child": child, "forward": forward}))
"""


@pytest.fixture
def clock(tmp_path: Path) -> MovedClock:
    if sys.platform != "linux" or shutil.which("cc") is None:
        pytest.skip("needs Linux and a C compiler")
    return MovedClock.make(tmp_path)


def time_in(clock: MovedClock, environment: dict[str, str]) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, "-c", _TELL, str(clock.folder)],
        env={"PYTHONPATH": str(Path(__file__).parents[2]), **environment},
        capture_output=True,
        text=True,
        check=False,
        timeout=60,
    )


def test_a_process_and_its_children_live_by_the_moved_clock_and_seconds_pass_as_ever(
    clock: MovedClock,
) -> None:
    done = time_in(clock, clock.environment())
    assert done.returncode == 0, done.stderr
    found: dict[str, Any] = json.loads(done.stdout)
    assert LEAP_DAY <= found["child"] <= found["here"] < LEAP_DAY + 60
    assert 0.02 <= found["forward"] < 60


def test_a_process_that_does_not_use_it_gets_an_error(clock: MovedClock) -> None:
    done = time_in(clock, {"PATH": os.environ["PATH"]})
    assert done.returncode == 1
    assert "does not use" in done.stderr


def test_a_missing_compiler_is_named_with_what_to_install(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("PATH", str(tmp_path))
    monkeypatch.setattr(sys, "platform", "linux")
    with pytest.raises(OSError, match="apt-get install gcc"):
        MovedClock.make(tmp_path)


def test_a_process_that_does_not_use_it_moves_that_of_those_that_do(clock: MovedClock) -> None:
    clock.set_for_others(datetime.fromtimestamp(LEAP_DAY, UTC))
    told = subprocess.check_output(["date", "+%s"], env=clock.environment())
    assert LEAP_DAY <= int(told) < LEAP_DAY + 60
