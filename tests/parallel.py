"""How the tests are divided where pytest-xdist runs several workers (``-n 3``)."""

from __future__ import annotations

from collections.abc import Iterable

import pytest
from xdist.remote import Producer
from xdist.scheduler import LoadScopeScheduling
from xdist.workermanage import WorkerController

SYSTEMS = 2  # at a time, or one less than there are workers


class FileByFile(LoadScopeScheduling):
    """A file's tests stay together, for its fixtures' sake; the slowest files begin first.

    Those are the acceptance tests: each starts a system, and mostly waits for its processes. One
    worker more than there may be systems at a time computes meanwhile.
    """

    def __init__(self, config: pytest.Config, log: Producer | None = None) -> None:
        config.option.loadscopereorder = False  # as collected: acceptance first
        self._faults_only = config.option.markexpr == "faults"
        super().__init__(config, log)

    def _split_scope(self, nodeid: str) -> str:
        return scope(nodeid, faults_only=self._faults_only)

    def _assign_work_unit(self, node: WorkerController) -> None:
        if not self._faults_only:
            others = (work for one, work in self.assigned_work.items() if one is not node)
            systems = sum(
                any(starts_system(file) and not all(tests.values()) for file, tests in work.items())
                for work in others
            )
            most = max(SYSTEMS, self.numnodes - 1)
            self.workqueue.move_to_end(next_file(self.workqueue, systems, most), last=False)
        super()._assign_work_unit(node)


def scope(nodeid: str, *, faults_only: bool) -> str:
    """What must run in the same worker has the same scope: a file, or in ``make faults`` a system.

    Plain cells are dealt out one by one; those of another kind share one system.
    """
    if faults_only:
        test, _, cell = nodeid.partition("test_no_other_kind_of_system_ends_otherwise[")
        return f"{test}{cell.partition('-')[0]}" if cell else nodeid
    return nodeid.split("::", 1)[0]


def starts_system(file: str) -> bool:
    """Whether its tests start whole systems."""
    return file.startswith("tests/acceptance/")


def next_file(waiting: Iterable[str], systems: int, most: int) -> str:
    """The first of the files that wait; where ``most`` systems run, the first that starts none.

    Where only such files wait, one of them all the same: no worker is idle.
    """
    files = list(waiting)
    if systems >= most:
        return next((file for file in files if not starts_system(file)), files[0])
    return files[0]
