"""A demo on a busy machine is waited for as long as something moves."""

from __future__ import annotations

import os
import subprocess
import sys

import pytest

from babylon_tasks.sandbox.movement import Movement, work_of_children


class Machine:
    """A clock and CPU seconds that a test sets."""

    def __init__(self) -> None:
        self.now = 0.0
        self.worked = 0.0
        self.movement = Movement(lambda: self.worked, lambda: self.now)

    def after(self, seconds: float, seen: object, *, worked: float = 0.0) -> float:
        self.now += seconds
        self.worked += worked
        return self.movement.still_for(seen)


@pytest.fixture
def machine() -> Machine:
    return Machine()


def test_a_row_that_changes_is_movement(machine: Machine) -> None:
    assert machine.after(1, "open") == 0
    assert machine.after(100, "open") == 100
    assert machine.after(100, "scored") == 0


def test_work_without_a_row_is_movement_however_slow(machine: Machine) -> None:
    machine.after(1, "training")
    for _ in range(100):
        assert machine.after(60, "training", worked=2) < 180


def test_a_worker_that_only_idles_stands_still(machine: Machine) -> None:
    machine.after(1, "training")
    assert [machine.after(60, "training", worked=0.1) for _ in range(3)] == [60, 120, 180]


def test_a_process_that_was_replaced_is_movement(machine: Machine) -> None:
    machine.after(1, "training")
    machine.after(60, "training", worked=100)
    assert machine.after(60, "training", worked=-90) == 0


def test_the_work_of_children_counts_while_they_live() -> None:
    busy = subprocess.Popen([sys.executable, "-c", "while True: pass"])
    try:
        while work_of_children(os.getpid()) < 0.05:
            assert busy.poll() is None
    finally:
        busy.kill()
        busy.wait()
    assert work_of_children(busy.pid) == 0
