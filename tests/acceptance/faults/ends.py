"""How each kind of system must end: all that is looked at once both windows are trained."""

from __future__ import annotations

import fcntl
import os
from collections.abc import Callable, Sequence
from pathlib import Path

import psutil
from acceptance.faults.kinds import (
    EVALUATING,
    ON_SMALL_DISK,
    OVER_TLS,
    PLAIN,
    POOLED,
    TWO_LINEAGES,
    Kind,
)
from acceptance.faults.system import System
from acceptance.harness import Babylon
from acceptance.outcome import (
    A_MOMENT,
    assert_evaluated_once,
    assert_recovered,
    assert_soon_none,
)

TRANSACTION_SECONDS = 20  # more than Postgres lets one of a dead client last here

End = Callable[[System, Sequence[str]], None]


def assert_ended_well(system: System, hours: Sequence[str]) -> None:
    """All that the system's kind demands, and what this cell's fault was to show."""
    for end in ENDS[system.kind]:
        end(system, hours)
    while system.to_show:
        what, is_shown = system.to_show.pop()
        assert is_shown(), what


def recovered(system: System, hours: Sequence[str]) -> None:
    """Of its lineage, and of a second one."""
    for one in (system, system.second):
        if one is not None:
            assert_recovered(one, hours)


def newest_serves(system: System, _: Sequence[str]) -> None:
    """Of each lineage: what it has learnt is what agents use."""
    for one in (system, system.second):
        if one is not None:
            assert_newest_serves(one)


def evaluated(system: System, _: Sequence[str]) -> None:
    """Each checkpoint, once."""
    assert_evaluated_once(system)


def processes_live(system: System, _: Sequence[str]) -> None:
    """Those that were started, with one trainer for each lineage, and none of those that ended."""
    for one in (system, system.second):
        if one is not None:
            assert_processes_live(one)


def no_temporary_folders(system: System, _: Sequence[str]) -> None:
    """Of processes that have ended."""
    folder = Path(system.stack.variables["TMPDIR"])
    assert_soon_none("temporary folders are left over", lambda: abandoned(folder), A_MOMENT)


def nothing_is_held(system: System, _: Sequence[str]) -> None:
    """Neither a lease nor a transaction outlives the work."""
    assert_nothing_is_held(system)


def assert_newest_serves(babylon: Babylon, seconds: float = A_MOMENT) -> None:
    """The gate has promoted the newest checkpoint, unless the test has changed its files."""
    assert_soon_none(
        "the newest checkpoint does not serve",
        lambda: babylon.rows(_NOT_SERVING, (babylon.lineage, list(babylon.harmed))),
        seconds,
    )


def assert_processes_live(babylon: Babylon, seconds: float = A_MOMENT) -> None:
    """One trainer lives and is not stopped, and each process belongs to one that was started."""
    assert_soon_none("processes are left over", lambda: strays(babylon), seconds)
    assert_soon_none("not one trainer runs", lambda: trainers_but_one(babylon), seconds)


def strays(babylon: Babylon) -> list[psutil.Process]:
    """Processes of the stack that are no descendants of those that were started and live."""
    ours: set[int] = set()
    for process in babylon.stack.processes:
        if process.child.poll() is None:
            begun = psutil.Process(process.child.pid)
            ours.update([begun.pid, *(one.pid for one in begun.children(recursive=True))])
    return [one for one in babylon.family() if one.pid not in ours and one.is_running()]


def trainers_but_one(babylon: Babylon) -> list[str]:
    """The trainers and how each is, unless there is one, and it runs."""
    found = [f"{one.pid}: {one.status()}" for one in babylon.trainers()]
    lives = len(found) == 1 and psutil.STATUS_STOPPED not in found[0]
    return [] if lives else found or ["none"]


def assert_nothing_is_held(babylon: Babylon, seconds: float = A_MOMENT) -> None:
    """Neither a lease of a window or a lineage, nor a transaction."""
    assert_soon_none(
        "something is still held",
        lambda: [row["what"] for row in babylon.rows(_HELD, (TRANSACTION_SECONDS,))],
        seconds,
    )


def abandoned(folder: Path) -> list[str]:
    """What no living process has locked (owned_folder.py)."""
    return [path.name for path in folder.iterdir() if not _is_locked(path)]


def _is_locked(path: Path) -> bool:
    descriptor = os.open(path, os.O_RDONLY)
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except OSError:
        return True
    finally:
        os.close(descriptor)
    return False


_NOT_SERVING = """
SELECT head_step, serving_step FROM training.lineages l
JOIN training.checkpoints c ON (c.lineage, c.step) = (l.name, l.head_step)
WHERE l.name = %s AND head_step <> serving_step AND c.uri <> ALL (%s)
"""
_HELD = """
SELECT 'window ' || window_id AS what FROM training.windows WHERE lease_until > now()
UNION ALL SELECT 'lineage ' || name FROM training.lineages WHERE lease_until > now()
UNION ALL SELECT 'transaction: ' || left(query, 200) FROM pg_stat_activity
WHERE datname = current_database() AND backend_type = 'client backend'
  AND xact_start < now() - make_interval(secs => %s)
"""
ALWAYS: tuple[End, ...] = (
    recovered,
    newest_serves,
    processes_live,
    no_temporary_folders,
    nothing_is_held,
)
ENDS: dict[Kind, tuple[End, ...]] = {
    PLAIN: ALWAYS,
    EVALUATING: (*ALWAYS, evaluated),
    TWO_LINEAGES: ALWAYS,
    POOLED: ALWAYS,
    OVER_TLS: ALWAYS,
    ON_SMALL_DISK: ALWAYS,
}
