"""Two lineages in one database: each learns from every window that is of use to it."""

from __future__ import annotations

import pytest
from factories import WINDOW
from scored_windows import column, hour, scored_window
from training_steps import warm
from two_lineages import NAMES, Lineage, agents_of, silence, used_by

from babylon_tasks.actions import TrainAction
from babylon_tasks.db import due_windows, reports, scoring, window_transitions, windows
from babylon_tasks.db.session import Connection
from babylon_tasks.db.trajectories import stream_window
from babylon_tasks.pipeline.reconcile import reconcile
from babylon_tasks.pipeline.results import TrainOutcome
from babylon_tasks.reasons import Reason

# --- hours of one lineage's agents


def test_hours_played_in_turn_are_trained_by_whom_they_are_of_use_to(
    connection: Connection, two: list[Lineage]
) -> None:
    """Whoever takes a window first: the wrong lineage closes it for itself only."""
    ids: dict[str, set[object]] = {name: set() for name in NAMES}
    for number in range(6):
        name = NAMES[number % 2]
        ids[name] |= set(agents_of(connection, name, hour(number)))

    for number in range(6):
        for one in reversed(two) if number < 3 else two:
            one.train(hour(number))

    for one in two:
        assert used_by(connection, one.name) == ids[one.name]
        states = [one.state(connection, hour(number)) for number in range(6)]
        ours = NAMES.index(one.name)
        assert states == ["trained" if n % 2 == ours else "skipped" for n in range(6)]
    assert windows.counts(connection)["trained"] == 6


def test_a_window_stays_scored_until_every_lineage_is_done_with_it(
    connection: Connection, two: list[Lineage]
) -> None:
    babylon, other = two
    agents_of(connection, "other")

    assert babylon.train(WINDOW).action is TrainAction.SKIPPED
    assert windows.get(connection, WINDOW).state == "scored"
    assert babylon.state(connection) == "skipped"
    assert babylon.train(WINDOW).reason == f"window {WINDOW} is skipped: {Reason.OTHER_POLICY}"
    assert babylon.train().action is TrainAction.IDLE

    assert other.train(WINDOW).action is TrainAction.COMMITTED
    row = windows.get(connection, WINDOW)
    assert (row.state, row.reason) == ("trained", None)
    assert babylon.state(connection) == "skipped"


def test_a_supervised_step_takes_an_hour_of_the_others_that_its_lineage_had_skipped(
    connection: Connection, two: list[Lineage]
) -> None:
    babylon, other = two
    ids = agents_of(connection, "other")
    assert babylon.train(WINDOW).action is TrainAction.SKIPPED

    assert warm(babylon.settings).step == 1
    assert (babylon.state(connection), other.state(connection)) == ("training", "scored")
    assert babylon.train().action is TrainAction.COMMITTED
    assert other.train(WINDOW).action is TrainAction.COMMITTED

    assert used_by(connection, "babylon") == {ids[-1]}  # the better part
    assert used_by(connection, "other") == {*ids}


# --- hours of both


def test_both_learn_from_an_hour_of_both(connection: Connection, two: list[Lineage]) -> None:
    ids = {name: set(agents_of(connection, name)) for name in NAMES}

    assert [one.train(WINDOW).step for one in two] == [1, 1]

    assert {name: used_by(connection, name) for name in NAMES} == ids
    assert windows.get(connection, WINDOW).state == "trained"


def test_two_steps_on_one_window_run_at_once(connection: Connection, two: list[Lineage]) -> None:
    babylon, other = two
    for name in NAMES:
        agents_of(connection, name)
    during: list[TrainOutcome] = []

    def meanwhile() -> None:
        assert other.state(connection) == "scored"
        during.append(other.train(WINDOW))
        assert windows.get(connection, WINDOW).state == "training"
        assert (babylon.state(connection), other.state(connection)) == ("training", "trained")

    babylon.train(WINDOW, babylon.peer(during=meanwhile))

    assert [outcome.action for outcome in during] == [TrainAction.COMMITTED]
    assert windows.get(connection, WINDOW).state == "trained"


def test_what_both_may_learn_from_is_used_once_by_each(
    connection: Connection, two: list[Lineage]
) -> None:
    """Answers of the base model, which both start from; Babylon's mark on them excludes neither."""
    ids = set(scored_window(connection, model=two[0].settings.base_model))
    for one in two:
        assert one.train(WINDOW).action is TrainAction.COMMITTED
        assert used_by(connection, one.name) == ids
    marks = column(connection, 'SELECT DISTINCT "usedInTraining" FROM trajectories')
    assert marks == [True]


def test_the_mark_of_another_trainer_excludes_a_trajectory_from_both(
    connection: Connection, two: list[Lineage]
) -> None:
    agents_of(connection, "babylon")
    for mark, used in (("babylon@0", False), ("somebody-7", True)):
        connection.execute(
            'UPDATE trajectories SET "usedInTraining" = true, "trainedInBatch" = %s', (mark,)
        )
        for one in two:
            (rows,) = stream_window(connection, WINDOW, one.settings)
            assert {row.already_used for row in rows} == {used}


# --- failures


def test_what_fails_for_one_lineage_uses_up_no_attempt_of_the_other(
    connection: Connection, two: list[Lineage]
) -> None:
    babylon, other = two
    for name in NAMES:
        agents_of(connection, name)
    for _ in range(babylon.settings.max_attempts):
        failed = babylon.train(WINDOW, babylon.peer(falls="refuses"))
        assert failed.action is TrainAction.FAILED
    row = windows.get(connection, WINDOW, lineage="babylon")
    assert (row.state, row.training_attempts) == ("failed", 3)
    assert "training failed 3 times" in str(row.reason)

    row = windows.get(connection, WINDOW, lineage="other")
    assert (row.state, row.training_attempts, row.due) == ("scored", 0, True)
    assert other.train(WINDOW).action is TrainAction.COMMITTED
    failed_windows = reports.system_state(connection, "babylon").failed
    assert [one.window for one in failed_windows] == [WINDOW]
    assert reports.system_state(connection, "other").failed == []
    assert windows.get(connection, WINDOW).state == "failed"


@pytest.mark.parametrize("other_first", [False, True])
def test_a_retry_is_for_the_lineage_that_failed(
    connection: Connection, two: list[Lineage], other_first: bool
) -> None:
    babylon, other = two
    ids = agents_of(connection, "babylon")
    for _ in range(babylon.settings.max_attempts):
        babylon.train(WINDOW, babylon.peer(falls="refuses"))
    if other_first:
        other.train(WINDOW)
    assert window_transitions.retry(connection, WINDOW, actor="test") == "scored"

    assert babylon.train(WINDOW).action is TrainAction.COMMITTED
    assert used_by(connection, "babylon") == set(ids)
    if not other_first:
        other.train(WINDOW)
    assert other.state(connection) == "skipped"
    assert windows.get(connection, WINDOW).state == "trained"


def test_a_retry_waits_for_a_lineage_that_was_silent(
    connection: Connection, two: list[Lineage]
) -> None:
    """Its worker was stopped for long; the operator asks for the window before starting it."""
    babylon, other = two
    agents_of(connection, "babylon")
    for _ in range(babylon.settings.max_attempts):
        babylon.train(WINDOW, babylon.peer(falls="refuses"))
    other.train(WINDOW)
    silence(connection, "babylon")

    assert window_transitions.retry(connection, WINDOW, actor="test") == "scored"
    reconcile(other.settings, actor="test")
    assert babylon.train(WINDOW).action is TrainAction.COMMITTED


def test_a_worker_that_dies_keeps_the_window_from_no_other_lineage(
    connection: Connection, two: list[Lineage]
) -> None:
    babylon, other = two
    for name in NAMES:
        agents_of(connection, name)
    babylon.train(WINDOW, babylon.peer(falls="after_writing"))

    assert other.train(WINDOW).action is TrainAction.COMMITTED
    assert babylon.train(WINDOW).action is TrainAction.ADOPTED
    assert windows.get(connection, WINDOW).state == "trained"


# --- messages


def test_each_lineage_is_sent_what_it_may_take(connection: Connection, two: list[Lineage]) -> None:
    babylon, _ = two
    agents_of(connection, "other")

    def sent() -> list[list[str]]:
        return [due_windows.pick_to_train(connection, one.settings, limit=10) for one in two]

    assert sent() == [[WINDOW], [WINDOW]], "what was sent to one was not sent to the other"
    assert sent() == [[], []]
    babylon.train(WINDOW)
    connection.execute("UPDATE training.lineage_windows SET enqueued_at = NULL")
    assert sent() == [[], [WINDOW]]


# --- rewards


def test_what_one_lineage_has_used_is_scored_again_for_the_other(
    connection: Connection, two: list[Lineage]
) -> None:
    babylon, other = two
    ids = scored_window(connection, model=babylon.settings.base_model)
    babylon.train(WINDOW)
    assert scoring.consumed(connection, WINDOW) == frozenset()
    other.train(WINDOW)
    assert scoring.consumed(connection, WINDOW) == set(ids)
