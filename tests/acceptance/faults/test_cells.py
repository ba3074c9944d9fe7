"""Whatever strikes, wherever: by themselves all windows are trained, each once, nothing is lost.

Cells follow each other on one system, as faults do in production. A failure shows which came
before it; its system is ended.
"""

from __future__ import annotations

import time

import pytest
from acceptance.faults import points
from acceptance.faults.agents import Agents
from acceptance.faults.bounds import ANSWERS_GO_ON, SILENCE_SECONDS, WITHIN
from acceptance.faults.cells import AFTER_A_STEP, CELLS, OTHER_CELLS, STOPS_THE_TRAINER, WORST, Cell
from acceptance.faults.conftest import Measured
from acceptance.faults.ends import assert_ended_well
from acceptance.faults.strikes.leases import leases
from acceptance.faults.system import System
from acceptance.harness import until


def _marked(cell: Cell) -> object:
    marks = [pytest.mark.long] if (cell.strike, cell.point) in WORST else []
    return pytest.param(cell, id=cell.name, marks=marks)


@pytest.mark.parametrize("cell", [pytest.param(cell, id=cell.name) for cell in OTHER_CELLS])
def test_no_other_kind_of_system_ends_otherwise(
    kept_system: System, cell: Cell, measured: Measured
) -> None:
    strike(kept_system, cell, measured)
    assert_ended_well(kept_system, kept_system.all_hours())


@pytest.mark.parametrize("cell", [_marked(cell) for cell in CELLS])
def test_every_window_is_trained_once(kept_system: System, cell: Cell, measured: Measured) -> None:
    strike(kept_system, cell, measured)
    assert_ended_well(kept_system, kept_system.all_hours())


def strike(system: System, cell: Cell, measured: Measured) -> None:
    """Strike one hour at the cell's point, and record another one after it, until both are done.

    Fails where that takes longer than is promised of the fault, or agents get no answer for longer.
    """
    until("nobody works any more", lambda: not leases(system))
    system.cells.append(cell.name)
    print("on this system:", ", ".join(system.cells))
    if cell.strike in AFTER_A_STEP and not system.steps("committed"):
        before = system.next_hours(1)
        system.record(*before)
        points.start(system)
        system.await_trained(before)
    struck, after = system.next_hours(2)
    system.struck = struck
    agents = system.agents = Agents(system)
    with agents:
        held = cell.point(system, struck)
        held.__enter__()
        begun = time.monotonic()
        with cell.strike(system):
            held.__exit__(None, None, None)
            if cell.point in STOPS_THE_TRAINER:
                begun = time.monotonic()
        over = time.monotonic()
        if struck not in system.recorded():
            system.record(struck)
        deadline = over + WITHIN[cell.strike]
        with measured(cell.name):
            if cell.kind.evaluates:  # or the next step's evaluation would take this one's place
                system.await_trained([struck], deadline - time.monotonic())
            if after not in system.recorded():
                system.record(after)
            # All: a checkpoint that is rolled back gives its hours back.
            system.await_trained(system.all_hours(), deadline - time.monotonic())
        agents.await_answer(over, deadline - time.monotonic())
    if cell.strike in ANSWERS_GO_ON:
        silence = agents.longest_silence(begun)
        assert silence < SILENCE_SECONDS, f"agents got no answer for {silence:.0f} s"
