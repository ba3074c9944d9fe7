"""The time of a demo's windows is told apart by phase, and all of it counts once."""

from __future__ import annotations

import msgspec
import pytest

from babylon_tasks.db.progress import WindowProgress
from babylon_tasks.sandbox.phases import Phase, PhaseClock, phase_of
from babylon_tasks.states import WindowState

_NEW = {
    "window": "2026-01-31T09:00",
    "reason": None,
    "agents": 0,
    "trajectories": 0,
    "scored": 0,
    "profit_mean": None,
    "right_share": None,
    "rejected": {},
    "step": None,
    "step_state": None,
    "gradient_steps": 0,
    "trainable_tokens": 0,
    "loss": None,
    "decision": None,
    "decision_reason": None,
    "evaluation": None,
    "serving_step": None,
}


def test_each_second_between_start_and_stop_is_of_one_phase() -> None:
    times = iter([0.0, 1.0, 4.0, 6.0, 7.0, 20.0, 22.0])
    clock = PhaseClock(lambda: next(times))

    clock.enter(Phase.SAMPLING)  # at 1
    clock.enter(Phase.PENDING)  # at 4
    clock.enter(Phase.PENDING)  # at 6
    clock.stop()  # at 7
    clock.enter(Phase.SAMPLING)  # at 20: nothing ran between
    clock.stop()  # at 22

    assert {phase: seconds for phase, seconds in clock.seconds.items() if seconds} == {
        Phase.SAMPLING: 5.0,
        Phase.PENDING: 3.0,
    }
    assert [*clock.seconds] == [*Phase]


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
    found = None if state is None else msgspec.convert(_NEW | {"state": state}, WindowProgress)
    assert found is None or found.state is WindowState(state)
    assert phase_of(found) is phase
