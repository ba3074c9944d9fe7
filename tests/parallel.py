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
        if self._faults_only:  # one file, whose cells are a system each
            return nodeid
        return nodeid.split("::", 1)[0]
