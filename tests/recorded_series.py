"""Series of a real run, a scrape a minute: ``recorded_metrics.json``, by bench/record_metrics.py.

A system learns from ten hours, then rests. ``faults`` are what a real fault changed in that state.
"""

from __future__ import annotations

import json
import re
from collections.abc import Callable, Iterator, Mapping
from itertools import groupby
from pathlib import Path

_RECORD = json.loads(Path(__file__).with_name("recorded_metrics.json").read_text("utf-8"))
_TIME = "_timestamp_seconds{"
Values = list[float | None]  # None: absent
Change = float | None | Callable[[int], float | None]  # by minutes since the fault began


def _read(runs: str) -> Values:
    parts = (run.split("*") for run in runs.split())
    return [_value(value) for value, count in parts for _ in range(int(count))]


def _value(written: str) -> float | None:
    return None if written == "_" else float(written)


def _with_job(name: str) -> str:
    return name.replace("{", '{job="babylon-tasks",', 1)


LEARNING: Mapping[str, Values] = {
    _with_job(name): _read(runs) for name, runs in _RECORD["learning"].items()
}
MINUTES = len(next(iter(LEARNING.values())))


def fault(phase: str) -> dict[str, Change]:
    """What was so while a real fault lasted."""
    return {_with_job(name): _value(value) for name, value in _RECORD[phase].items()}


def matching(selector: str) -> list[str]:
    """The series that a selector names: a metric or nothing, and labels; fails without any."""
    name, _, labels = selector.partition("{")
    wanted = re.findall(r'\w+="[^"]*"', labels)
    found = [
        series
        for series in LEARNING
        if (not name or series.startswith(f"{name}{{")) and all(one in series for one in wanted)
    ]
    assert found, f"the real run had no series {selector}"
    return found


def at_times(series: str, values: Values, began: float = 0) -> Values:
    """The values, those that are times counted from when the run is said to have begun."""
    if _TIME not in series:
        return values
    return [value and began + 60 * at + value for at, value in enumerate(values)]  # 0: never


def replayed(
    changes: Mapping[str, Change], minutes: int, names: set[str]
) -> Iterator[tuple[str, str]]:
    """The run, and ``minutes`` in which it rests with these changes, as promtool writes series.

    Of these metrics only. Times count from the first minute, as promtool's clock does.
    """
    for series in sorted({*LEARNING, *changes}):
        if series.partition("{")[0] not in names:
            continue
        values = at_times(series, LEARNING.get(series, [None] * MINUTES))
        change = changes.get(series, values[-1])
        later = [change(minute) if callable(change) else change for minute in range(minutes)]
        yield series, _written([*values, *later])


def _written(values: Values) -> str:
    parts = []
    for value, same in groupby(values):
        count = len(list(same))
        parts.append(f"_x{count}" if value is None else f"{value:g}+0x{count - 1}")
    return " ".join(parts)
