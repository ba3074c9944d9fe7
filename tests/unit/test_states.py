"""The transition tables: what the design allows, and nothing besides."""

from __future__ import annotations

import re
from itertools import product
from pathlib import Path

import pytest

from babylon_tasks.errors import IllegalTransition
from babylon_tasks.states import (
    STEP_TRANSITIONS,
    WINDOW_TRANSITIONS,
    StepState,
    WindowState,
    check_step,
    check_window,
)

SCHEMA = Path(__file__).parents[2] / "migrations" / "0002_training_schema.sql"


@pytest.mark.parametrize(("current", "target"), [*product(WindowState, repeat=2)])
def test_a_window_changes_only_along_the_table(current: WindowState, target: WindowState) -> None:
    if target in WINDOW_TRANSITIONS[current]:
        check_window(current, target, "2026-01-31T09:00")
    else:
        with pytest.raises(IllegalTransition, match=r"window 2026-01-31T09:00 is .* why 2026"):
            check_window(current, target, "2026-01-31T09:00")


@pytest.mark.parametrize(("current", "target"), [*product(StepState, repeat=2)])
def test_a_step_changes_only_along_the_table(current: StepState, target: StepState) -> None:
    if target in STEP_TRANSITIONS[current]:
        check_step(current, target, 7)
    else:
        with pytest.raises(IllegalTransition, match="step row 7 is"):
            check_step(current, target, 7)


def test_no_state_leads_to_itself_and_every_state_has_a_line() -> None:
    assert set(WINDOW_TRANSITIONS) == set(WindowState)
    assert set(STEP_TRANSITIONS) == set(StepState)
    assert not [state for state, targets in WINDOW_TRANSITIONS.items() if state in targets]
    assert not [state for state, targets in STEP_TRANSITIONS.items() if state in targets]


def test_what_was_trained_or_committed_never_changes_again() -> None:
    assert WINDOW_TRANSITIONS[WindowState.TRAINED] == frozenset()
    assert STEP_TRANSITIONS[StepState.COMMITTED] == frozenset()


def test_every_window_can_come_to_an_end() -> None:
    reached = {state for state, targets in WINDOW_TRANSITIONS.items() if not targets}
    while more := {s for s, targets in WINDOW_TRANSITIONS.items() if targets & reached} - reached:
        reached |= more
    assert reached == set(WindowState)


def test_training_is_reached_only_through_scored() -> None:
    ways = {state for state, targets in WINDOW_TRANSITIONS.items() if "training" in targets}
    assert ways == {WindowState.SCORED}


@pytest.mark.parametrize(("table", "states"), [("windows", WindowState), ("steps", StepState)])
def test_the_database_knows_the_same_states(
    table: str, states: type[WindowState] | type[StepState]
) -> None:
    text = SCHEMA.read_text("utf-8").split(f"CREATE TABLE training.{table} (")[1]
    matched = re.search(r"CHECK \(state IN\s*\((.*?)\)\)", text, re.DOTALL)
    assert matched is not None
    assert set(re.findall(r"'(\w+)'", matched[1])) == set(states)
