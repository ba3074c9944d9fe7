"""How the tests are divided where pytest-xdist runs several workers (``-n 2``)."""

from __future__ import annotations

import pytest
from xdist.remote import Producer
from xdist.scheduler import LoadScopeScheduling


class FileByFile(LoadScopeScheduling):
    """A file's tests stay together, for its fixtures' sake; the slowest files begin first.

    As many systems run at a time as there are workers: each acceptance test starts one, and they
    mostly wait for their own processes.
    """

    def __init__(self, config: pytest.Config, log: Producer | None = None) -> None:
        config.option.loadscopereorder = False  # as collected: acceptance first
        self._faults_only = config.option.markexpr == "faults"
        super().__init__(config, log)

    def _split_scope(self, nodeid: str) -> str:
        return scope(nodeid, faults_only=self._faults_only)


def scope(nodeid: str, *, faults_only: bool) -> str:
    """What must run in the same worker has the same scope: a file, or in ``make faults`` a system.

    Plain cells are dealt out one by one; those of another kind share one system.
    """
    if faults_only:
        test, _, cell = nodeid.partition("test_no_other_kind_of_system_ends_otherwise[")
        return f"{test}{cell.partition('-')[0]}" if cell else nodeid
    return nodeid.split("::", 1)[0]
