"""What docs/operations.md has operators type into psql, against names that look alike."""

from __future__ import annotations

import pytest
from copies import ROOT
from documents import blocks
from factories import insert, insert_trajectories, trajectory
from one_moment import lineage
from scored_windows import column

from babylon_tasks.db.session import Connection

pytestmark = pytest.mark.contract("today")


def statement(begins: str) -> str:
    """The SQL of the block that has this line."""
    (text,) = (one.text for one in blocks(ROOT / "docs/operations.md") if begins in one.text)
    return text[text.index(begins) : text.index("\nSQL")]


def test_after_a_restore_only_marks_of_our_lineages_are_removed(connection: Connection) -> None:
    """Names of lineages may have `_`, which LIKE takes for any character."""
    lineage(connection, "a_b")
    batches = ("a_b@7", "axb@7", "a_b-2@7")
    rows = [
        trajectory(agent=f"agent-{number}", usedInTraining=True, trainedInBatch=batch)
        for number, batch in enumerate(batches)
    ]
    insert_trajectories(connection, rows)
    batch = {"baseModel": "m", "modelVersion": "1", "trajectoryIds": "[]", "rewardsJson": "[]"}
    insert(
        connection,
        "training_batches",
        [batch | {"id": name, "batchId": name} for name in batches],
    )

    connection.execute(statement("UPDATE trajectories"))  # type: ignore[arg-type]

    marked = 'SELECT "trainedInBatch" FROM trajectories WHERE "usedInTraining" ORDER BY 1'
    assert column(connection, marked) == ["a_b-2@7", "axb@7"]
