"""Two lineages in one database; whatever happens to them, no invariant is violated."""

from __future__ import annotations

import pytest
from two_lineages import NAMES, Lineage, Make

from babylon_tasks.db import invariants, lineages
from babylon_tasks.db.session import Connection
from babylon_tasks.settings import Settings


@pytest.fixture
def two(connection: Connection, make_settings: Make) -> list[Lineage]:
    made = []
    for name in NAMES:
        data = make_settings().data_dir / name
        settings = make_settings(
            lineage=name, data_dir=data, retry_delay_seconds=0, max_windows_per_step=1
        )
        lineages.ensure(connection, settings)
        made.append(Lineage(settings))
    return made


@pytest.fixture(autouse=True)
def _nothing_is_violated(connection: Connection, settings: Settings) -> object:
    yield
    assert invariants.violations(connection, settings) == []
