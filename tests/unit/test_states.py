"""The transition tables: what the design allows, and nothing besides."""

from __future__ import annotations

import re
from itertools import product
from pathlib import Path

import pytest

from babylon_tasks.db import sql
from babylon_tasks.db.sql import statement
from babylon_tasks.errors import IllegalTransition
from babylon_tasks.states import (
    COMMIT,
    FAIL,
    RETURN,
    STEP_TRANSITIONS,
    TAKE,
    WINDOW_TRANSITIONS,
    StepState,
    StepTransition,
    WindowState,
    WindowTransition,
    check_step,
    check_window,
)

SCHEMA = Path(__file__).parents[2] / "migrations" / "0002_training_schema.sql"
OPEN_STEPS = {StepState.PLANNED, StepState.RUNNING, StepState.TRAINED}


def _name(case: object) -> str:
    # Two pytest workers must collect the same ids, and a set's text is in no order.
    return getattr(case, "name", str(case))


@pytest.mark.parametrize(
    ("transition", "target"), [*product(WINDOW_TRANSITIONS, WindowState)], ids=_name
)
def test_a_window_is_led_only_where_the_table_says(
    transition: WindowTransition, target: WindowState
) -> None:
    if target in transition.targets:
        check_window(transition, target, "2026-01-31T09:00")
    else:
        with pytest.raises(IllegalTransition, match="nothing was written of window 2026-01-31T09"):
            check_window(transition, target, "2026-01-31T09:00")


@pytest.mark.parametrize(
    ("transition", "current"), [*product(STEP_TRANSITIONS, StepState)], ids=_name
)
def test_a_step_changes_only_along_the_table(
    transition: StepTransition, current: StepState
) -> None:
    if current in transition.sources:
        check_step(current, transition, 7)
    else:
        with pytest.raises(IllegalTransition, match=f"step row 7 is {current}; to "):
            check_step(current, transition, 7)


@pytest.mark.parametrize("transition", STEP_TRANSITIONS, ids=_name)
def test_each_transition_of_a_step_is_one_guarded_statement(transition: StepTransition) -> None:
    text = statement(f"steps.{transition.name}")
    assert "state = %(target)s" in text
    assert "state = %(source)s AND attempt " in text


@pytest.mark.parametrize("transition", WINDOW_TRANSITIONS, ids=_name)
def test_each_transition_of_a_window_is_one_guarded_statement(
    transition: WindowTransition,
) -> None:
    text = statement(transition.statement)
    assert "state = %(target)s" in text
    assert "state = ANY (%(sources)s)" in text


def test_no_other_statement_changes_a_state() -> None:
    known = {f"steps.{one.name}" for one in STEP_TRANSITIONS}
    known |= {one.statement for one in WINDOW_TRANSITIONS}
    folder = Path(sql.__file__).parent / "queries"
    update = re.compile(r"UPDATE training\.(?:windows|steps)\b.*?\bSET\b(.*?)\bWHERE\b", re.DOTALL)
    found = {
        f"{path.stem}.{name}"
        for path in folder.glob("*.sql")
        for name, text in sql.queries(path.stem).items()
        for columns in update.findall(text)
        if re.search(r"\bstate = ", columns)
    }
    assert found == known


def test_what_was_trained_changes_only_where_its_branch_is_dead_and_a_committed_step_never() -> (
    None
):
    assert [one for one in WINDOW_TRANSITIONS if WindowState.TRAINED in one.sources] == [RETURN]
    ended = {StepState.COMMITTED, StepState.FAILED}
    assert not [one for one in STEP_TRANSITIONS if ended & one.sources]


def test_every_window_can_come_to_an_end() -> None:
    reached = {WindowState.TRAINED}
    while (
        more := {
            state
            for one in WINDOW_TRANSITIONS
            if reached & one.targets.keys()
            for state in one.sources
        }
        - reached
    ):
        reached |= more
    assert reached == set(WindowState)


def test_every_unfinished_step_can_be_committed_or_failed() -> None:
    assert FAIL.sources == OPEN_STEPS
    reached = set(COMMIT.sources)
    while (
        more := {
            state for one in STEP_TRANSITIONS if one.target in reached for state in one.sources
        }
        - reached
    ):
        reached |= more
    assert reached == OPEN_STEPS


def test_training_is_reached_only_through_scored() -> None:
    ways = [one for one in WINDOW_TRANSITIONS if WindowState.TRAINING in one.targets]
    assert ways == [TAKE]
    assert TAKE.sources == {WindowState.SCORED}


@pytest.mark.parametrize(("table", "states"), [("windows", WindowState), ("steps", StepState)])
def test_the_database_knows_the_same_states(
    table: str, states: type[WindowState] | type[StepState]
) -> None:
    text = SCHEMA.read_text("utf-8").split(f"CREATE TABLE training.{table} (")[1]
    matched = re.search(r"CHECK \(state IN\s*\((.*?)\)\)", text, re.DOTALL)
    assert matched is not None
    assert set(re.findall(r"'(\w+)'", matched[1])) == set(states)
