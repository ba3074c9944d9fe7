"""The machine under the processes: its disk, its clock."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from datetime import timedelta

from acceptance.faults.system import System
from acceptance.harness import until

TEN_MINUTES = timedelta(minutes=10)


@contextmanager
def data_folder_full(system: System) -> Iterator[None]:
    """The disk of the data folder is full; somebody makes room."""
    met = _refusals(system)
    with system.disk.full():
        yield
        until(
            "the GPU worker has met it, or had nothing left to do",
            lambda: _refusals(system) > met or not system.unfinished(),
        )


@contextmanager
def clock_ahead(system: System) -> Iterator[None]:
    """The clock of all our processes jumps ten minutes ahead, and stays there."""
    system.clock.jump(TEN_MINUTES)
    yield


@contextmanager
def clock_behind(system: System) -> Iterator[None]:
    """The clock of all our processes falls ten minutes behind, and stays there."""
    system.clock.jump(-TEN_MINUTES)
    yield


def _refusals(system: System) -> int:
    log = system.log("gpu-worker")
    return log.count("MiB are free in") + log.count("No space left on device")
