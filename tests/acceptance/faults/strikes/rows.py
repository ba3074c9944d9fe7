"""Babylon's rows come late, or belong to the hour only later."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

from acceptance.faults.system import System

NOT_YET = "2099-01-01T00:00"


@contextmanager
def rows_late(system: System) -> Iterator[None]:
    """Rows of the same hour come late: with its windowId, with none, and with another at first."""
    window = max([*system.states(), system.struck])
    late = system.record(window, groups=1, agents=2)
    late += system.record(window, groups=1, agents=2, windowId=None)
    moved = system.record(window, groups=1, agents=2, windowId=NOT_YET)
    system.late.update(late, moved)
    yield
    system.execute(
        'UPDATE trajectories SET "windowId" = %s WHERE "trajectoryId" = ANY (%s)', (window, moved)
    )
