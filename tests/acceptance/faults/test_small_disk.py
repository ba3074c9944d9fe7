"""A disk of Postgres's own that is full is full for what a test records too."""

from __future__ import annotations

import psycopg
import pytest
from acceptance.faults.conftest import MakeSystem
from acceptance.faults.kinds import ON_SMALL_DISK
from acceptance.faults.strikes.postgres import postgres_disk_full, postgres_ended_by_its_disk


def test_its_tables_do_not_grow_and_it_ends_where_its_log_must(make_system: MakeSystem) -> None:
    with make_system(ON_SMALL_DISK) as system:
        before = system.recorded()
        refused, taken = system.next_hours(2)
        with postgres_disk_full(system), pytest.raises(psycopg.errors.DiskFull):
            system.record(refused, groups=1000)
        system.record(taken)

        with postgres_ended_by_its_disk(system):
            assert not system.postgres.running
        assert system.recorded() == before | {taken}
