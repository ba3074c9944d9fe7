"""Two lineages learn side by side from one database, each by a GPU worker of its own."""

from __future__ import annotations

from acceptance.conftest import MakeBabylon
from acceptance.harness import Babylon, hours, until

from babylon_tasks.db.invariants import violations
from babylon_tasks.db.session import connect


def test_each_is_trained_on_the_answers_of_its_own_agents(make_babylon: MakeBabylon) -> None:
    one = make_babylon()
    other = make_babylon(folder="other", BABYLON_LINEAGE="other")
    windows = hours(4)
    asked = {
        babylon: {name for w in windows for name in babylon.record(w)} for babylon in (one, other)
    }

    one.start("beat", "cpu-worker", "gpu-worker")
    other.start("gpu-worker")

    for babylon in (one, other):
        until(
            f"{babylon.lineage} has learned from each hour",
            lambda babylon=babylon: learned(babylon) == windows,
        )
        used = babylon.rows(
            "SELECT trajectory_id AS id FROM training.consumption"
            " WHERE lineage = %s AND use = 'trained'",
            (babylon.lineage,),
        )
        assert {row["id"] for row in used} == asked[babylon]
    one.await_states(windows, "trained")
    with connect(one.stack.settings) as connection:
        assert violations(connection, one.stack.settings) == []


def learned(babylon: Babylon) -> list[str]:
    """The hours of the lineage's own committed steps."""
    own = [step for step in babylon.steps("committed") if step["lineage"] == babylon.lineage]
    return sorted(window for step in own for window in step["windows"])
