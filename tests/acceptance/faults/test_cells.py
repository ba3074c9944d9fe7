"""Whatever strikes, wherever: by themselves all windows are trained, each once, nothing is lost.

Cells follow each other on one system, as faults do in production. A failure shows which came
before it; its system is ended.
"""

from __future__ import annotations

import pytest
from acceptance.faults import points
from acceptance.faults.cells import AFTER_A_STEP, CELLS, WORST, Cell
from acceptance.faults.conftest import Measured
from acceptance.faults.strikes.leases import leases
from acceptance.faults.system import System
from acceptance.harness import assert_trained_once, until


def _marked(cell: Cell) -> object:
    marks = [pytest.mark.worst] if (cell.strike, cell.point) in WORST else []
    return pytest.param(cell, id=cell.name, marks=marks)


@pytest.mark.parametrize("cell", [_marked(cell) for cell in CELLS])
def test_every_window_is_trained_once(kept_system: System, cell: Cell, measured: Measured) -> None:
    system = kept_system
    until("nobody works any more", lambda: not leases(system))
    system.cells.append(cell.name)
    print("on this system:", ", ".join(system.cells))
    if cell.strike in AFTER_A_STEP and not system.steps("committed"):
        before = system.next_hours(1)
        system.record(*before)
        points.start(system)
        system.await_states(before, "trained")
    struck, after = system.next_hours(2)
    system.struck = struck
    held = cell.point(system, struck)
    held.__enter__()
    with cell.strike(system):
        held.__exit__(None, None, None)
    for window in sorted({struck, after} - system.recorded()):
        system.record(window)
    with measured(cell.name):
        system.await_states([struck, after], "trained")

    assert_trained_once(system, system.all_hours())
    assert not system.trained_from_harmed()
    scored = system.rows("SELECT window_id FROM training.windows WHERE attempt > 2")
    trained = [step["windows"] for step in system.steps("committed") if step["tries"] > 2]
    assert not scored + trained, "a fault that is not the window's own uses up one attempt at most"
