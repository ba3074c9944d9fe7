"""What each change of a step leaves in its row, and which rows it leaves alone."""

from __future__ import annotations

from datetime import datetime
from typing import Any

import pytest
from msgspec import Struct
from one_moment import EARLIER, alter, lineage, step
from psycopg.types.json import Jsonb
from scored_windows import column

from babylon_tasks.db.session import Connection
from babylon_tasks.db.sql import fetch_all
from babylon_tasks.states import STEP_TRANSITIONS, StepState, StepTransition

BEFORE = f"""
    attempt = 2, tries = 2, progress = '{{}}', metrics = '{{"before": 1}}', error = 'before',
    next_attempt_at = {EARLIER}, started_at = {EARLIER}"""
GIVEN = {
    "fencing_token": 2,
    "error": "why",
    "delay": 60,
    "metrics": Jsonb({"after": 2}),
    "gradient_steps": 3,
    "trainable_tokens": 4,
    "adapter_hash": "new",
}


class Moved(Struct, frozen=True):
    """What each of the statements returns."""

    state: StepState
    fencing_token: int
    attempts: int
    started_at: datetime | None


NOW, SOON = "now", "in a minute"
CHANGES: dict[str, dict[str, object]] = {
    "start": {},
    "restart": {"tries": 3, "progress": None, "error": None},
    "take_over": {"next_attempt_at": None},
    "postpone": {"error": "why", "next_attempt_at": SOON},
    "postpone_free": {"tries": 1, "error": "why", "next_attempt_at": SOON},
    "interrupt": {"tries": 1, "error": "why"},
    "verify": {
        "trained_at": NOW,
        "metrics": {"after": 2},
        "gradient_steps": 3,
        "error": None,
        "trainable_tokens": 4,
        "adapter_hash": "new",
    },
    "commit": {"committed_at": NOW},
    "fail": {"failed_at": NOW, "error": "why", "metrics": {"after": 2}},
}


def as_rows(connection: Connection) -> dict[str, dict[str, Any]]:
    """By state."""
    found = column(connection, "SELECT to_jsonb(s) FROM training.steps s")
    return {row["state"]: row for row in found if isinstance(row, dict)}


def change(
    connection: Connection, transition: StepTransition, source: StepState, **more: object
) -> list[Moved]:
    given = GIVEN | {"source": source, "target": transition.target or source}
    about = {"step_id": as_rows(connection)[source]["id"], "attempts": transition.attempts}
    return fetch_all(connection, f"steps.{transition.name}", Moved, **{**given, **about, **more})


def every_state(connection: Connection) -> None:
    lineage(connection)
    for number, state in enumerate(StepState):
        step(connection, base_step=number, target_step=number + 1, state=state)
    alter(connection, "steps", BEFORE)


def by_name(case: object) -> str:
    return getattr(case, "name", str(case))


CASES = [
    (transition, source) for transition in STEP_TRANSITIONS for source in sorted(transition.sources)
]


@pytest.mark.parametrize(("transition", "source"), CASES, ids=by_name)
def test_a_change_is_of_one_step_and_of_it_what_the_table_says(
    moment: Connection, transition: StepTransition, source: StepState
) -> None:
    every_state(moment)
    times = "SELECT to_jsonb(now()), to_jsonb(now() + interval '60 s')"
    now, soon = moment.execute(times).fetchone() or ()
    before = {row["id"]: row for row in as_rows(moment).values()}
    changed = as_rows(moment)[source]["id"]

    (moved,) = change(moment, transition, source)

    left = {
        name: {NOW: now, SOON: soon}.get(str(value), value)
        for name, value in CHANGES[transition.name].items()
    }
    before[changed] |= left | {"state": transition.target or source}
    found = column(moment, "SELECT to_jsonb(s) FROM training.steps s")
    assert {row["id"]: row for row in found if isinstance(row, dict)} == before
    assert (moved.state, moved.attempts) == (before[changed]["state"], before[changed]["tries"])


@pytest.mark.parametrize(("transition", "source"), CASES, ids=by_name)
def test_a_step_that_is_not_as_the_claimant_knows_it_is_not_changed(
    moment: Connection, transition: StepTransition, source: StepState
) -> None:
    every_state(moment)
    others = [state for state in StepState if state != source]

    assert change(moment, transition, source, fencing_token=1) == []
    for other in others:
        row = as_rows(moment)[other]["id"]
        assert change(moment, transition, source, step_id=row) == []


def test_a_step_is_taken_over_under_the_newer_token(moment: Connection) -> None:
    every_state(moment)
    (take_over,) = [one for one in STEP_TRANSITIONS if one.name == "take_over"]
    (start,) = [one for one in STEP_TRANSITIONS if one.name == "start"]

    (moved,) = change(moment, take_over, StepState.PLANNED, fencing_token=3)

    assert moved.fencing_token == 3
    assert change(moment, start, StepState.PLANNED, fencing_token=2) == []
    (begun,) = change(moment, start, StepState.PLANNED, fencing_token=3)
    assert begun.started_at is not None


def test_no_step_has_fewer_than_no_attempts_and_a_failure_keeps_what_was_measured(
    moment: Connection,
) -> None:
    every_state(moment)
    alter(moment, "steps", "tries = 0, started_at = NULL")
    by = {one.name: one for one in STEP_TRANSITIONS}

    (moved,) = change(moment, by["interrupt"], StepState.RUNNING)
    assert moved.attempts == 0
    (moved,) = change(moment, by["restart"], StepState.PLANNED)
    assert moved.started_at is not None
    change(moment, by["fail"], StepState.TRAINED, metrics=None)
    kept = "SELECT metrics FROM training.steps WHERE failed_at IS NOT NULL"
    assert column(moment, kept) == [{"before": 1}]
