"""Changes of a step's state: allowed by the table, guarded by the lease, whole or not at all."""

from __future__ import annotations

import msgspec
import pytest
from factories import WINDOW
from msgspec import structs
from scored_windows import column
from training_steps import planned_step

from babylon_tasks.db import consumption, steps
from babylon_tasks.db.commit_step import commit_step
from babylon_tasks.db.fail_step import fail_step
from babylon_tasks.db.lineages import Lease
from babylon_tasks.db.session import Connection
from babylon_tasks.db.steps import Step
from babylon_tasks.errors import IllegalTransition, StaleLease
from babylon_tasks.settings import Settings
from babylon_tasks.states import COMMIT, INTERRUPT, RESTART, START, VERIFY, StepState
from babylon_tasks.step_records import StepResult

RESULT = StepResult(1, 3, 12, "new", None, "file:///1", "babylon@1", "hash", {"loss/train": 0.5})


@pytest.fixture
def planned(connection: Connection, settings: Settings) -> tuple[Lease, Step]:
    """A planned step on one window, and the lease that it was planned under."""
    lease, step, _ = planned_step(connection, settings)
    return lease, step


def row(connection: Connection) -> list[object]:
    return column(connection, "SELECT to_jsonb(s) FROM training.steps s")


def test_a_transition_returns_the_step_as_it_is_and_records_who_did_it(
    connection: Connection, planned: tuple[Lease, Step]
) -> None:
    lease, step = planned

    running = steps.advance(connection, lease, step, START, actor="test", detail={"why": "x"})

    assert (running.state, running.attempts) == (StepState.RUNNING, 1)
    assert running.started_at is not None
    assert steps.unfinished(connection, "babylon") == running
    assert column(connection, "SELECT detail FROM training.events ORDER BY id DESC LIMIT 1") == [
        {"why": "x", "attempts": 1, "fencing_token": lease.fencing_token}
    ]


def test_a_change_that_the_table_does_not_have_writes_nothing(
    connection: Connection, planned: tuple[Lease, Step]
) -> None:
    lease, step = planned
    before = row(connection)
    events = column(connection, "SELECT count(*) FROM training.events")

    with pytest.raises(IllegalTransition, match="is planned; to commit it, it must be trained"):
        steps.advance(connection, lease, step, COMMIT, actor="test")

    assert row(connection) == before
    assert column(connection, "SELECT count(*) FROM training.events") == events


def test_a_lost_compare_and_set_takes_the_callers_transaction_with_it(
    connection: Connection, planned: tuple[Lease, Step]
) -> None:
    lease, step = planned
    running = steps.advance(connection, lease, step, START, actor="test")
    columns = msgspec.structs.asdict(RESULT)
    steps.advance(connection, lease, running, VERIFY, actor="test", columns=columns)
    before = row(connection)

    def act() -> None:
        with connection.transaction():
            consumption.release(connection, step.id)
            steps.advance(connection, lease, running, RESTART, actor="test")

    with pytest.raises(StaleLease, match="is no longer running under fencing token 1; nothing"):
        act()

    assert row(connection) == before
    assert column(connection, "SELECT count(*) > 0 FROM training.consumption") == [True]
    assert column(connection, "SELECT training_tries FROM training.windows") == [1]


def test_attempts_are_counted_with_the_step_and_its_windows(
    connection: Connection, planned: tuple[Lease, Step]
) -> None:
    lease, step = planned
    counted = "SELECT (s.tries, w.training_tries)::text FROM training.steps s, training.windows w"
    running = steps.advance(connection, lease, step, START, actor="test")
    assert column(connection, counted) == ["(1,1)"]

    again = steps.advance(connection, lease, running, RESTART, actor="test")
    assert (again.attempts, column(connection, counted)) == (2, ["(2,2)"])

    steps.advance(connection, lease, again, INTERRUPT, actor="test", columns={"error": "x"})
    assert column(connection, counted) == ["(1,1)"]


def test_a_commit_is_refused_where_a_window_is_no_longer_in_training(
    connection: Connection, planned: tuple[Lease, Step]
) -> None:
    lease, step = planned
    running = steps.advance(connection, lease, step, START, actor="test")
    columns = msgspec.structs.asdict(RESULT)
    verified = steps.advance(connection, lease, running, VERIFY, actor="test", columns=columns)
    connection.execute("UPDATE training.windows SET state = 'sealed'")

    with pytest.raises(IllegalTransition, match=f"window {WINDOW} is sealed; to end it, it must"):
        commit_step(connection, lease, verified, RESULT, base_model="m", rewards=[], actor="test")

    assert column(connection, "SELECT state FROM training.steps") == ["trained"]
    assert column(connection, "SELECT head_step FROM training.lineages") == [0]
    assert column(connection, "SELECT step FROM training.checkpoints") == [0]


def test_a_step_that_failed_frees_its_data_once(
    connection: Connection, settings: Settings, planned: tuple[Lease, Step]
) -> None:
    lease, step = planned

    failed = fail_step(connection, lease, step, "x", settings, actor="test", metrics={"a": 1.0})

    assert failed.state == StepState.FAILED
    assert column(connection, "SELECT count(*) FROM training.consumption") == [0]
    with pytest.raises(IllegalTransition, match="is failed; to fail it"):
        fail_step(connection, lease, failed, "x", settings, actor="test")


def test_the_reference_of_a_paid_job_is_stored_or_refused(
    connection: Connection, planned: tuple[Lease, Step]
) -> None:
    lease, step = planned
    running = steps.advance(connection, lease, step, START, actor="test")
    steps.note_job(connection, lease, running, "job-1")
    late = structs.replace(lease, fencing_token=lease.fencing_token - 1)

    with pytest.raises(StaleLease, match=r"reference of the W&B job of babylon@1 was not stored"):
        steps.note_job(connection, late, running, "job-2")

    assert column(connection, "SELECT job_reference FROM training.steps") == ["job-1"]
