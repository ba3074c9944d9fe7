"""The recovery table, row by row: what is done about a step that somebody began and did not end."""

from __future__ import annotations

from itertools import product

import pytest
from msgspec import structs

from babylon_tasks.db.steps import Step
from babylon_tasks.pipeline.recover import RECOVERY, BackendFinding, RecoveryAction, compare
from babylon_tasks.states import UNFINISHED, StepState
from babylon_tasks.step_records import StepResult
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
        (BackendStep(3), BackendFinding.NOTHING),
        (BackendStep(3, made_from("the step before")), BackendFinding.NOTHING),
        (BackendStep(4, made_from("ours")), BackendFinding.ITS_CHECKPOINT),
        (BackendStep(4, made_from("another")), BackendFinding.FOREIGN_CHECKPOINT),
        (BackendStep(4), BackendFinding.FOREIGN_CHECKPOINT),
        (BackendStep(2), BackendFinding.ANOTHER_PLACE),
        (BackendStep(5, made_from("ours")), BackendFinding.ANOTHER_PLACE),
    ],
)
def test_what_the_backend_holds_is_seen_from_the_step(
    backend: BackendStep, found: BackendFinding
) -> None:
    assert compare(STEP, backend) is found


@pytest.mark.parametrize("job", ["?", "job-1"])
@pytest.mark.parametrize(
    ("at", "found"),
    [
        (2, BackendFinding.ANOTHER_PLACE),
        (3, BackendFinding.JOB),
        (4, BackendFinding.JOBS_CHECKPOINT),
        (5, BackendFinding.OTHER_JOBS),
    ],
)
def test_a_step_with_a_job_is_never_taken_for_one_without(
    job: str, at: int, found: BackendFinding
) -> None:
    assert compare(structs.replace(STEP, job=job), BackendStep(at)) is found


def test_every_unfinished_step_is_dealt_with_whatever_is_found() -> None:
    assert set(RECOVERY) == set(product(BackendFinding, UNFINISHED))


@pytest.mark.parametrize(
    ("found", "state", "action"),
    [
        (BackendFinding.NOTHING, StepState.PLANNED, RecoveryAction.RUN_AGAIN),
        (BackendFinding.NOTHING, StepState.RUNNING, RecoveryAction.RUN_AGAIN),
        (
            BackendFinding.NOTHING,
            StepState.TRAINED,
            RecoveryAction.FAIL,
        ),  # a verified checkpoint is gone
        *(
            (BackendFinding.ITS_CHECKPOINT, state, RecoveryAction.ADOPT)
            for state in sorted(UNFINISHED)
        ),
        *(
            (BackendFinding.FOREIGN_CHECKPOINT, state, RecoveryAction.SET_ASIDE)
            for state in sorted(UNFINISHED)
        ),
        (BackendFinding.JOB, StepState.PLANNED, RecoveryAction.FOLLOW),
        (BackendFinding.JOB, StepState.RUNNING, RecoveryAction.FOLLOW),
        (BackendFinding.JOB, StepState.TRAINED, RecoveryAction.FAIL),
        *(
            (BackendFinding.JOBS_CHECKPOINT, state, RecoveryAction.FOLLOW)
            for state in sorted(UNFINISHED)
        ),
        *(
            (BackendFinding.ANOTHER_PLACE, state, RecoveryAction.REFUSE)
            for state in sorted(UNFINISHED)
        ),
    ],
)
def test_the_table_row_by_row(
    found: BackendFinding, state: StepState, action: RecoveryAction
) -> None:
    assert RECOVERY[found, state] is action


def test_setting_aside_never_leads_to_setting_aside_again() -> None:
    assert RecoveryAction.SET_ASIDE not in {
        RECOVERY[BackendFinding.NOTHING, state] for state in sorted(UNFINISHED)
    }
