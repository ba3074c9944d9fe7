"""The recovery table, row by row: what is done about a step that somebody began and did not end."""

from __future__ import annotations

from itertools import product

import pytest

from babylon_tasks.db.steps import Step
from babylon_tasks.pipeline.recover import RECOVERY, Action, Found, compare
from babylon_tasks.records import StepResult
from babylon_tasks.states import UNFINISHED, StepState
from babylon_tasks.training.protocol import BackendStep

STEP = Step(
    id=1,
    lineage="babylon",
    base_step=3,
    target_step=4,
    state=StepState.RUNNING,
    fencing_token=1,
    attempts=1,
    windows=["2026-01-31T09:00"],
    manifest_hash="ours",
    manifest={},
    started_at=None,
    due=True,
)


def made_from(manifest_hash: str) -> StepResult:
    return StepResult(4, 3, 120, "new", "old", "uri", "babylon@4", manifest_hash, {"loss": 0.5})


@pytest.mark.parametrize(
    ("backend", "found"),
    [
        (BackendStep(3), Found.NOTHING),
        (BackendStep(3, made_from("the step before")), Found.NOTHING),
        (BackendStep(4, made_from("ours")), Found.ITS_CHECKPOINT),
        (BackendStep(4, made_from("another")), Found.FOREIGN_CHECKPOINT),
        (BackendStep(4), Found.FOREIGN_CHECKPOINT),
        (BackendStep(2), Found.ANOTHER_PLACE),
        (BackendStep(5, made_from("ours")), Found.ANOTHER_PLACE),
    ],
)
def test_what_the_backend_holds_is_seen_from_the_step(backend: BackendStep, found: Found) -> None:
    assert compare(STEP, backend) is found


def test_every_unfinished_step_is_dealt_with_whatever_is_found() -> None:
    assert set(RECOVERY) == set(product(Found, UNFINISHED))


@pytest.mark.parametrize(
    ("found", "state", "action"),
    [
        (Found.NOTHING, StepState.PLANNED, Action.RUN_AGAIN),
        (Found.NOTHING, StepState.RUNNING, Action.RUN_AGAIN),
        (Found.NOTHING, StepState.TRAINED, Action.FAIL),  # a verified checkpoint is gone
        *((Found.ITS_CHECKPOINT, state, Action.ADOPT) for state in sorted(UNFINISHED)),
        *((Found.FOREIGN_CHECKPOINT, state, Action.DISCARD) for state in sorted(UNFINISHED)),
        *((Found.ANOTHER_PLACE, state, Action.REFUSE) for state in sorted(UNFINISHED)),
    ],
)
def test_the_table_row_by_row(found: Found, state: StepState, action: Action) -> None:
    assert RECOVERY[found, state] is action


def test_discarding_never_leads_to_discarding_again() -> None:
    assert Action.DISCARD not in {RECOVERY[Found.NOTHING, state] for state in sorted(UNFINISHED)}
