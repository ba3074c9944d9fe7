"""The tree of checkpoints holds committed steps only."""

from __future__ import annotations

import pytest

from babylon_tasks.db import lineages
from babylon_tasks.db.session import Connection

pytestmark = pytest.mark.contract(None)


def insert_step(connection: Connection, target: int, state: str, *, parent: int) -> None:
    connection.execute(
        "INSERT INTO training.steps (lineage, base_step, target_step, state, attempt, backend,"
        " windows, manifest_hash, manifest)"
        " VALUES ('babylon', %s, %s, %s, 1, 'cpu', '{}', 'h',"
        " jsonb_build_object('parent_step', %s::int))",
        [target - 1, target, state, parent],
    )


def test_neither_a_failed_step_nor_one_in_work_has_a_place_in_it(connection: Connection) -> None:
    connection.execute(
        "INSERT INTO training.lineages (name, base_model, backend) VALUES ('babylon', 'm', 'cpu')"
    )
    insert_step(connection, 1, "committed", parent=0)
    insert_step(connection, 2, "committed", parent=1)
    insert_step(connection, 2, "failed", parent=0)
    insert_step(connection, 3, "running", parent=2)
    assert lineages.parents(connection, "babylon") == {1: 0, 2: 1}
