"""The tables of docs/reliability.md: ``python tests/acceptance/faults/table.py [MEASURED]``.

MEASURED: what ``make faults ARGS="--measured=MEASURED"`` has written, in as many runs as wanted.
"""

from __future__ import annotations

import json
import sys
from collections import defaultdict
from collections.abc import Mapping, Sequence
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parents[3]))
sys.path.insert(0, str(Path(__file__).parents[2]))
from acceptance.faults.bounds import WITHIN
from acceptance.faults.cells import EVERYWHERE, OTHER_CELLS, STRUCK, WORST, Cell
from acceptance.faults.faults_of_0_1_0 import PLAYED
from acceptance.faults.strikes.strike import Strike

Seconds = Mapping[str, Sequence[float]]


def table(seconds: Seconds | None = None) -> str:
    """A row for each fault, a column for each point; ``seconds``: of each cell's runs."""
    lines = [["fault", *(point.__name__ for point in EVERYWHERE), "at most"]]
    for strike, points in STRUCK.items():
        row = [_said(strike)]
        for point in EVERYWHERE:
            text = _range(Cell(strike, point), seconds)
            if (strike, point) in WORST:
                text = f"**{text}**"
            row.append(text if point in points else "")
        row.append(str(WITHIN[strike]))
        lines.append(row)
    return _lines(lines)


def table_of_others(seconds: Seconds | None = None) -> str:
    """A row for each fault that strikes a system of another kind than the plain one."""
    lines = [["system", "fault", "point", "seconds", "at most"]]
    for cell in OTHER_CELLS:
        point = cell.point.__name__
        row = [cell.kind.what, _said(cell.strike), point, _range(cell, seconds)]
        lines.append([*row, str(WITHIN[cell.strike])])
    return _lines(lines)


def table_of_former() -> str:
    """A row for each kind of fault that 0.1.0 was shown, with what produces it now."""
    lines = [["fault", "cells, and tests in tests/"]]
    for fault, played in PLAYED.items():
        names = (f"`{name}*`" if name.endswith("-") else f"`{name}`" for name in played)
        lines.append([fault, ", ".join(names)])
    return _lines(lines)


def _said(strike: Strike) -> str:
    return (strike.__doc__ or "").rstrip(".")


def _range(cell: Cell, seconds: Seconds | None) -> str:
    found = (seconds or {}).get(cell.name, [])
    return f"{min(found):.0f} to {max(found):.0f}" if found else "yes"


def _lines(lines: list[list[str]]) -> str:
    lines.insert(1, ["---"] * len(lines[0]))
    return "\n".join(f"| {' | '.join(line)} |" for line in lines)


def read(path: Path) -> Seconds:
    """The seconds of each cell, by its name."""
    found: dict[str, list[float]] = defaultdict(list)
    for line in path.read_text("ascii").splitlines():
        row = json.loads(line)
        found[row["cell"]].append(row["seconds"])
    return found


if __name__ == "__main__":
    measured = read(Path(sys.argv[1])) if sys.argv[1:] else None
    print(table(measured), table_of_others(measured), table_of_former(), sep="\n\n")
