"""Whatever strikes, wherever: by themselves all windows are trained, each once, nothing is lost."""

from __future__ import annotations

import pytest
from acceptance.faults import points
from acceptance.faults.cells import AFTER_A_STEP, CELLS, WORST, Cell
from acceptance.faults.conftest import Measured
from acceptance.faults.system import System
from acceptance.harness import assert_trained_once, hours


def _marked(cell: Cell) -> object:
    marks = [pytest.mark.worst] if (cell.strike, cell.point) in WORST else []
    return pytest.param(cell, id=cell.name, marks=marks)


@pytest.mark.parametrize("cell", [_marked(cell) for cell in CELLS])
def test_every_window_is_trained_once(system: System, cell: Cell, measured: Measured) -> None:
    before, struck, after = hours(3)
    windows = [struck, after]
    system.struck = struck
    if cell.strike in AFTER_A_STEP:
        windows = [before, struck, after]
        system.record(before)
        points.start(system)
        system.await_states([before], "trained")
    held = cell.point(system, struck)
    held.__enter__()
    with cell.strike(system):
        held.__exit__(None, None, None)
    system.record(after)
    with measured(cell.name):
        system.await_states(windows, "trained")

    assert_trained_once(system, windows)
    spent = system.rows("SELECT window_id, attempt FROM training.windows WHERE attempt > 2")
    assert not spent, "a fault that is not the window's own uses up none of its attempts"
