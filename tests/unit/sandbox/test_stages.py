"""What a demo is doing is said in a line at any time."""

from __future__ import annotations

from typing import Any

import pytest
from msgspec.structs import replace

from babylon_tasks.db.progress import WindowProgress
from babylon_tasks.sandbox.phases import Phase, phase_of
from babylon_tasks.sandbox.stages import doing, stage
from babylon_tasks.states import WindowState

TRAINING = WindowProgress(
    window="2026-01-31T09:00",
    state=WindowState.TRAINING,
    reason=None,
    agents=16,
    trajectories=128,
    scored=128,
    profit_mean=None,
    right_share=None,
    rejected={},
    step=1,
    step_state=None,
    gradient_steps=0,
    trainable_tokens=0,
    loss=None,
    decision=None,
    decision_reason=None,
    evaluation=None,
    serving_step=0,
    step_progress={"done": 3, "total": 8, "counted": "gradient steps"},
)


@pytest.mark.parametrize(
    ("number", "elapsed", "line"),
    [
        (1, 50.0, "window 1 of 40 is scored"),
        (2, 30.0, "window 2 of 40 is scored; about 20 min left"),
        (40, 390.0, "window 40 of 40 is scored; less than a minute left"),
    ],
)
def test_the_time_left_is_that_of_the_windows_so_far(
    number: int, elapsed: float, line: str
) -> None:
    assert stage(number, 40, "is scored", elapsed) == line


def test_a_step_has_how_far_it_is() -> None:
    assert doing(TRAINING) == "is trained on, 3 of 8 gradient steps"


@pytest.mark.parametrize("progress", [None, {}, {"done": 0, "total": 0}])
def test_a_step_that_has_not_begun_to_count_is_named(progress: dict[str, Any] | None) -> None:
    assert doing(replace(TRAINING, step_progress=progress)) == "is trained on"


@pytest.mark.parametrize("state", list(WindowState))
def test_each_state_has_words(state: WindowState) -> None:
    assert doing(replace(TRAINING, state=state))


def test_an_hour_that_nobody_has_opened_is_waited_for() -> None:
    assert doing(None) == "waits to be opened"


@pytest.mark.parametrize(
    ("state", "phase"),
    [
        (None, Phase.PENDING),
        ("open", Phase.PENDING),
        ("sealed", Phase.SCORING),
        ("scoring", Phase.SCORING),
        ("scored", Phase.TRAINING),
        ("training", Phase.TRAINING),
        ("trained", Phase.EVALUATING),
        ("held_out", Phase.PENDING),
    ],
)
def test_a_recorded_window_s_state_tells_its_phase(state: str | None, phase: Phase) -> None:
    found = None if state is None else replace(TRAINING, state=WindowState(state))
    assert phase_of(found) is phase
