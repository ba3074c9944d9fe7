"""The table of docs/reliability.md: ``python tests/acceptance/faults/table.py [MEASURED]``.

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
from acceptance.faults.cells import EVERYWHERE, STRUCK, WORST, Cell

Seconds = Mapping[str, Sequence[float]]


def table(seconds: Seconds | None = None) -> str:
    """A row for each fault, a column for each point; ``seconds``: of each cell's runs."""
    heads = ["fault", *(point.__name__ for point in EVERYWHERE)]
    lines = [heads, ["---"] * len(heads)]
    for strike, points in STRUCK.items():
        row = [(strike.__doc__ or "").rstrip(".")]
        for point in EVERYWHERE:
            cell = Cell(strike, point)
            found = (seconds or {}).get(cell.name, [])
            text = f"{min(found):.0f} to {max(found):.0f}" if found else "yes"
            if (strike, point) in WORST:
                text = f"**{text}**"
            row.append(text if point in points else "")
        lines.append(row)
    return "\n".join(f"| {' | '.join(line)} |" for line in lines)


def read(path: Path) -> Seconds:
    """The seconds of each cell, by its name."""
    found: dict[str, list[float]] = defaultdict(list)
    for line in path.read_text("ascii").splitlines():
        row = json.loads(line)
        found[row["cell"]].append(row["seconds"])
    return found


if __name__ == "__main__":
    print(table(read(Path(sys.argv[1])) if sys.argv[1:] else None))
