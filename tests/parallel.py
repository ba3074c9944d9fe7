"""Which tests may run at the same time where pytest-xdist runs several workers (``-n 2``)."""

from __future__ import annotations

import pytest
from xdist.remote import Producer
from xdist.scheduler import LoadScopeScheduling


class OneStackAtATime(LoadScopeScheduling):
    """A file's tests stay together, for its fixtures' sake; acceptance tests follow each other.

    Those start whole systems, which need the machine's cores themselves and hold leases of
    seconds. They are the longest and begin first; the other workers take files meanwhile.
    """

    def __init__(self, config: pytest.Config, log: Producer | None = None) -> None:
        config.option.loadscopereorder = False  # as collected: acceptance first
        self._faults_only = config.option.markexpr == "faults"
        super().__init__(config, log)

    def _split_scope(self, nodeid: str) -> str:
        if self._faults_only:  # a tier of systems, of which each core runs one
            return nodeid
        path = nodeid.split("::", 1)[0]
        return "acceptance" if path.startswith("tests/acceptance/") else path
