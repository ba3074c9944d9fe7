"""Tests are divided among workers so that none waits, and no more systems run than may."""

from __future__ import annotations

from acceptance.faults.cells import CELLS, ON_OTHER_SYSTEMS, OTHER_CELLS, Cell
from parallel import next_file, scope

FILE = "tests/acceptance/faults/test_cells.py"


def test_in_make_test_a_file_stays_together() -> None:
    files = (FILE, "tests/acceptance/test_loop.py", "tests/unit/test_windows.py")
    found = {
        scope(f"{file}::test_it[{number}]", faults_only=False)
        for file in files
        for number in range(2)
    }
    assert found == set(files)


def test_in_make_faults_a_kind_of_system_stays_together_and_plain_cells_are_dealt_out() -> None:
    def of(test: str, cells: list[Cell]) -> list[str]:
        return [scope(f"{FILE}::{test}[{cell.name}]", faults_only=True) for cell in cells]

    others = of("test_no_other_kind_of_system_ends_otherwise", OTHER_CELLS)
    assert len(set(others)) == len(ON_OTHER_SYSTEMS)
    assert sorted(others, key=others.index) == others, "one kind after the other"
    plain = of("test_every_window_is_trained_once", CELLS)
    assert len(set(plain)) == len(CELLS)
    assert not set(plain) & set(others)


def test_where_as_many_systems_run_as_may_another_worker_takes_what_starts_none() -> None:
    system, other = "tests/acceptance/test_loop.py", "tests/unit/test_windows.py"
    assert next_file([system, other], systems=1, most=2) == system
    assert next_file([system, other], systems=2, most=2) == other
    assert next_file([system], systems=2, most=2) == system, "no worker is idle"
