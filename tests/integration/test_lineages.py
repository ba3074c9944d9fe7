"""What is read and changed of a lineage: its own rows, and none of another's."""

from __future__ import annotations

from typing import Any

import pytest
from factories import insert
from one_moment import EARLIER, LATER, alter, lineage, step
from scored_windows import column, hour

from babylon_tasks.db import lineages, promotions, steps
from babylon_tasks.db.lineages import Lease
from babylon_tasks.db.session import Connection
from babylon_tasks.errors import StaleLease
from babylon_tasks.states import StepState


@pytest.fixture
def two(moment: Connection) -> Connection:
    """Two lineages, ours and another."""
    lineage(moment)
    lineage(moment, "another")
    return moment


def claim(connection: Connection, name: str = "babylon") -> Lease:
    lease = lineages.claim(connection, name, "somebody", 60)
    assert lease is not None
    return lease


def row(connection: Connection, name: str) -> tuple[Any, ...]:
    found = connection.execute("SELECT * FROM training.lineages WHERE name = %s", [name])
    return found.fetchone() or ()


# --- leases


def test_a_lease_is_claimed_once_and_again_under_the_next_token_when_it_has_ended(
    two: Connection,
) -> None:
    alter(two, "lineages", "head_step = 7, serving_step = 5")
    other = row(two, "another")

    assert claim(two) == Lease("babylon", "somebody", 1, 7, 5)
    assert lineages.claim(two, "babylon", "somebody else", 60) is None
    found = lineages.get(two, "babylon")
    assert found is not None
    assert (found.leased, found.lease_owner, found.fencing_token) == (True, "somebody", 1)
    assert row(two, "another") == other

    alter(two, "lineages", f"lease_until = {EARLIER}")
    found = lineages.get(two, "babylon")
    assert found is not None
    assert not found.leased
    assert claim(two).fencing_token == 2


def test_what_is_done_under_a_lease_leaves_other_lineages_alone(two: Connection) -> None:
    lease, _ = claim(two), claim(two, "another")
    rows = [
        {"lineage": name, "step": step, "uri": "uri", "inference_name": f"{name}@{step}"}
        for name in ("babylon", "another")
        for step in (0, 1)
    ]
    insert(two, "training.checkpoints", rows)
    other = row(two, "another")

    lineages.renew(two, lease, 3600)
    until = "SELECT lease_until > now() + interval '30 min' FROM training.lineages ORDER BY name"
    assert column(two, until) == [False, True]
    lineages.move_head(two, lease, 1)
    lineages.note_trainer(two, lease, backend="gpu", base_url="here", inference_name="base")
    promotions.move(two, "babylon", 1)
    assert lineages.release(two, lease)

    left = lineages.get(two, "babylon")
    assert left is not None
    assert (left.leased, left.lease_owner) == (False, None)
    assert row(two, "another") == other
    assert lineages.inference_names(two, "babylon") == {"base": 0, "babylon@1": 1}
    assert lineages.inference_names(two, "another") == {"another@0": 0, "another@1": 1}
    found = promotions.serving(two, "babylon")
    assert (found.step, found.inference_name, found.base_url) == (1, "babylon@1", "here")
    assert found.backend == "gpu"
    assert promotions.is_committed(two, "babylon", 1)
    assert not promotions.is_committed(two, "babylon", 2)


def test_under_a_superseded_token_nothing_of_a_lineage_changes(two: Connection) -> None:
    stale, others = claim(two), claim(two, "another")
    assert stale.fencing_token == others.fencing_token
    alter(two, "lineages", f"lease_until = {EARLIER}")
    claim(two)
    before = row(two, "babylon")

    with pytest.raises(StaleLease):
        lineages.lock_lineage(two, stale)
    with pytest.raises(StaleLease):
        lineages.renew(two, stale, 3600)
    with pytest.raises(StaleLease):
        lineages.move_head(two, stale, 1)
    with pytest.raises(StaleLease):
        lineages.note_trainer(two, stale, backend="gpu", base_url="here", inference_name="base")
    assert not lineages.release(two, stale)
    assert row(two, "babylon") == before


@pytest.mark.parametrize("to", [1, 3])
def test_the_head_moves_by_one_step(two: Connection, to: int) -> None:
    lease = claim(two)
    lineages.move_head(two, lease, 1)

    with pytest.raises(StaleLease):
        lineages.move_head(two, lease, to)
    lineages.move_head(two, lease, 2)


def test_a_checkpoint_of_another_lineage_is_none_of_ours(two: Connection) -> None:
    other = {"lineage": "another", "step": 1, "uri": "uri", "inference_name": "another@1"}
    insert(two, "training.checkpoints", [other])

    assert not promotions.is_committed(two, "babylon", 1)
    assert lineages.inference_names(two, "babylon") == {}


# --- steps


@pytest.mark.parametrize("state", StepState)
def test_a_step_is_unfinished_until_it_is_committed_or_failed(
    two: Connection, state: StepState
) -> None:
    step(two, lineage="another")
    assert steps.unfinished(two, "babylon") is None
    step(two, state=state, base_step=3, target_step=4)

    found = steps.unfinished(two, "babylon")

    if state in ("committed", "failed"):
        assert found is None
    else:
        assert found is not None
        assert (found.target_step, found.state) == (4, state)


@pytest.mark.parametrize(("at", "due"), [("NULL", True), ("now()", True), (LATER, False)])
def test_a_step_is_due_when_its_wait_is_over(two: Connection, at: str, due: bool) -> None:
    step(two)
    alter(two, "steps", f"next_attempt_at = {at}")

    found = steps.unfinished(two, "babylon")
    assert found is not None
    assert found.due is due


@pytest.mark.parametrize(
    ("but", "failed"),
    [
        ("state = 'failed'", True),
        ("state = 'committed'", False),
        ("state = 'failed', lineage = 'another'", False),
        ("state = 'failed', base_step = 1, target_step = 2", False),
        ("state = 'failed', manifest_hash = 'another'", False),
    ],
)
def test_a_step_failed_that_was_of_this_lineage_target_and_manifest(
    two: Connection, but: str, failed: bool
) -> None:
    step(two)
    alter(two, "steps", but)

    assert steps.failed_at(two, "babylon", 1, "hash") is failed


def test_a_window_was_trained_in_the_last_committed_step_that_took_it(two: Connection) -> None:
    taken = hour(1)
    step(two, [taken], state="committed")
    step(two, [hour(2), taken], state="committed", base_step=1, target_step=2)
    step(two, [hour(2)], state="committed", base_step=2, target_step=3)
    step(two, [taken], state="failed", base_step=3, target_step=4)
    step(two, [taken], state="committed", lineage="another", base_step=8, target_step=9)

    assert steps.of_window(two, "babylon", taken) == 2
    assert steps.of_window(two, "babylon", hour(3)) is None


def test_the_tree_of_checkpoints_is_of_committed_steps_of_the_lineage(two: Connection) -> None:
    for number, parent, state in ((0, 0, "committed"), (1, 0, "committed"), (2, 1, "running")):
        made = {"manifest": f'{{"parent_step": {parent}}}', "state": state}
        step(two, base_step=number, target_step=number + 1, **made)
    step(two, lineage="another", base_step=6, target_step=7, state="committed")

    assert lineages.parents(two, "babylon") == {1: 0, 2: 0}


@pytest.mark.parametrize(
    ("but", "stored"),
    [
        ("state = 'running'", True),
        ("state = 'trained'", False),
        ("attempt = 2", False),
    ],
)
def test_progress_is_of_the_run_that_holds_the_lease(
    two: Connection, but: str, stored: bool
) -> None:
    step(two)
    found = steps.unfinished(two, "babylon")
    assert found is not None
    step(two, lineage="another")
    alter(two, "steps", but)

    steps.progress(two, Lease("babylon", "me", 1, 0, 0), found, {"done": 3})

    progress = column(two, "SELECT progress FROM training.steps ORDER BY id")
    assert progress == [{"done": 3} if stored else None, None]
