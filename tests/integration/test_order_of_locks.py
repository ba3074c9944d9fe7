"""Windows are locked in the order of their ids: transactions with some in common take turns.

Otherwise each could have what the other waits for, and Postgres would end one of them.
"""

from __future__ import annotations

import threading
from collections.abc import Callable
from typing import Any

import pytest
from one_moment import window
from scored_windows import column, hour

from babylon_tasks.db import lineages, steps
from babylon_tasks.db.commit_step import commit_step
from babylon_tasks.db.fail_step import fail_step
from babylon_tasks.db.lineages import Lease
from babylon_tasks.db.session import Connection, session
from babylon_tasks.db.steps import Step
from babylon_tasks.faults import Fault
from babylon_tasks.settings import Settings
from babylon_tasks.states import INTERRUPT, START, VERIFY
from babylon_tasks.step_records import StepResult

pytestmark = pytest.mark.contract("today")

LATER, EARLIER = hour(2), hour(1)  # and so they lie in the table, and in the step
RESULT = StepResult(
    step=1,
    gradient_steps=1,
    trainable_tokens=1,
    adapter_hash="new",
    base_adapter_hash=None,
    uri="here",
    inference_name="babylon@1",
    manifest_hash="hash",
    metrics={},
    files={},
)


def fail(connection: Connection, lease: Lease, step: Step, settings: Settings) -> None:
    fault = Fault.TRAINER_KILLED  # the windows keep their attempts: those are written, too
    fail_step(connection, lease, step, "it died", settings, actor="test", fault=fault)


def interrupt(connection: Connection, lease: Lease, step: Step, settings: Settings) -> None:
    del settings
    steps.advance(connection, lease, step, INTERRUPT, actor="test", columns={"error": "stopped"})


def commit(connection: Connection, lease: Lease, step: Step, settings: Settings) -> None:
    base = settings.base_model
    found = {"metrics": None, "gradient_steps": 1, "trainable_tokens": 1, "adapter_hash": "new"}
    step = steps.advance(connection, lease, step, VERIFY, actor="test", columns=found)
    commit_step(connection, lease, step, RESULT, base_model=base, rewards=[], actor="test")


@pytest.mark.parametrize("end", [fail, interrupt, commit])
def test_who_ends_a_step_waits_for_its_first_window_and_holds_no_later_one(
    connection: Connection, settings: Settings, end: Callable[..., Any]
) -> None:
    for number in (2, 1):
        window(connection, number)
    lineages.ensure(connection, settings)
    lease = lineages.claim(connection, "babylon", "somebody", 60)
    assert lease is not None
    step = steps.plan(
        connection,
        lease,
        backend="cpu",
        windows={LATER: 1, EARLIER: 1},
        manifest=b"{}",
        manifest_hash="hash",
        uses=[],
        actor="test",
    )
    assert step is not None
    step = steps.advance(connection, lease, step, START, actor="test")
    errors: list[BaseException] = []

    def run() -> None:
        try:
            with session(settings) as own:
                end(own, lease, step, settings)
        except BaseException as error:  # noqa: BLE001  # shown below
            errors.append(error)

    ends = threading.Thread(target=run)
    lock = "SELECT window_id FROM training.windows WHERE window_id = %s FOR UPDATE NOWAIT"
    with session(settings) as other, other.transaction():
        other.execute(lock, [EARLIER])
        ends.start()
        waiting = "SELECT count(*) FROM pg_stat_activity WHERE wait_event_type = 'Lock'"
        while column(connection, waiting) == [0] and ends.is_alive():
            connection.execute("SELECT pg_stat_clear_snapshot()")
        assert other.execute(lock, [LATER]).fetchall() == [(LATER,)]
    ends.join()

    assert errors == []
