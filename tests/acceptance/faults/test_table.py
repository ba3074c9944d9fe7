"""docs/reliability.md says which faults are tried at which points."""

from __future__ import annotations

import re
import subprocess
import sys
from pathlib import Path

from acceptance.faults.bounds import WITHIN, bound
from acceptance.faults.cells import CELLS, ON_OTHER_SYSTEMS, OTHER_CELLS, STRUCK, WORST
from acceptance.faults.conftest import CELLS_PER_SYSTEM
from acceptance.faults.faults_of_0_1_0 import PLAYED
from acceptance.faults.table import table, table_of_former, table_of_others

DOCUMENT = Path(__file__).parents[3] / "docs" / "reliability.md"


def test_the_document_has_a_row_for_each_fault_and_a_cell_for_each_test() -> None:
    written = DOCUMENT.read_text("utf-8")
    for made in (table(), table_of_others(), table_of_former()):
        assert _without_seconds(made) in _without_seconds(written), (
            "put the output of `python tests/acceptance/faults/table.py` into docs/reliability.md"
        )


def test_there_are_eighty_cells_at_least_and_twelve_are_in_every_run() -> None:
    assert len(CELLS) >= 80
    assert len(WORST) == 12
    assert all(point in STRUCK[strike] for strike, point in WORST)


def test_each_other_kind_of_system_is_started_once_for_all_its_cells() -> None:
    assert all(len(faults) <= CELLS_PER_SYSTEM for faults in ON_OTHER_SYSTEMS.values())
    assert len({cell.name for cell in CELLS + OTHER_CELLS}) == len(CELLS) + len(OTHER_CELLS)


def test_seconds_of_several_runs_become_a_range(tmp_path: Path) -> None:
    measured = tmp_path / "measured"
    name = CELLS[0].name
    measured.write_text(
        "".join(f'{{"cell": "{name}", "seconds": {seconds}}}\n' for seconds in (4.4, 1.2, 2.0))
    )
    command = [sys.executable, DOCUMENT.parents[1] / "tests/acceptance/faults/table.py", measured]

    printed = subprocess.run(command, check=True, capture_output=True, text=True).stdout

    assert "| 1 to 4 |" in printed.splitlines()[2]
    assert printed.count(" to ") == 1 + (table() + table_of_others() + table_of_former()).count(
        " to "
    )


def test_each_fault_of_0_1_0_is_produced_by_a_cell_or_a_test() -> None:
    cells = [cell.name for cell in CELLS + OTHER_CELLS]
    tests = DOCUMENT.parents[1] / "tests"
    for fault, played in PLAYED.items():
        for name in played:
            file, _, test = name.partition("::")
            if test:
                written = (tests / file).read_text("utf-8")
                assert f"\ndef {test}(" in written, f"{fault}: no test is called {name}"
            else:
                assert any(cell.startswith(name) for cell in cells), f"{fault}: no cell is {name}*"
    numbers = {fault.partition(" ")[0] for fault in PLAYED}
    assert numbers >= {f"S1-{number}" for number in range(1, 7)}
    assert numbers >= {f"S2-{number}" for number in range(1, 8)}


def test_what_is_promised_follows_from_the_longest_that_was_measured() -> None:
    longest = dict.fromkeys(WITHIN, 0)
    for line in DOCUMENT.read_text("utf-8").splitlines():
        for strike in longest:
            _, found, cells = line.partition(f"| {(strike.__doc__ or '').rstrip('.')} |")
            if found:
                most = [int(seconds) for seconds in re.findall(r"\d+ to (\d+)", cells)]
                longest[strike] = max([longest[strike], *most])
    measured = {strike: bound(seconds) for strike, seconds in longest.items() if seconds}
    assert measured == {strike: WITHIN[strike] for strike in measured}
    assert set(WITHIN) == {cell.strike for cell in CELLS + OTHER_CELLS}


def _without_seconds(text: str) -> str:
    return re.sub(r"\d+ to \d+", "yes", text)
