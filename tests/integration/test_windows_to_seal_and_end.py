"""Which windows are sealed, looked through, ended, counted: what fails one condition is left alone.

Every test is one transaction, in which ``now()`` stands still: so limits are met exactly.
"""

from __future__ import annotations

import pytest
from one_moment import EARLIER, LATER, alter, states_but, window
from scored_windows import column, hour

from babylon_tasks.db import step_windows
from babylon_tasks.db.changed_rows import mark_changed
from babylon_tasks.db.session import Connection
from babylon_tasks.db.sql import fetch_pairs, fetch_value, fetch_values
from babylon_tasks.states import WindowState

# --- to seal


@pytest.mark.parametrize(
    ("ended", "opened", "found"),
    [
        ("-0.001", "0", {}),
        ("0", "0", {hour(1): False}),
        ("3600", "3599.999", {hour(1): False}),
        ("3599.999", "3600", {hour(1): False}),
        ("3600", "3600", {hour(1): True}),
    ],
)
def test_an_hour_may_be_sealed_when_it_is_over_and_must_be_after_the_longest_time_open(
    moment: Connection, ended: str, opened: str, found: dict[str, bool]
) -> None:
    times = (
        f"starts_at = now() - interval '1 hour {ended} s',"
        f" opened_at = now() - interval '{opened} s'"
    )
    window(moment, 1, "open", but=times)
    window(moment, 2, "sealed", but=times)

    due = {"max_open": 3600, "limit": 10}
    assert fetch_pairs(moment, "open_and_seal.due_to_seal", str, bool, **due) == found


def test_the_oldest_hours_are_sealed_first(moment: Connection) -> None:
    for number in (2, 1, 3):
        window(moment, number, "open")

    due = {"max_open": 3600, "limit": 2}
    found = fetch_pairs(moment, "open_and_seal.due_to_seal", str, bool, **due)
    assert list(found) == [hour(1), hour(2)]


# --- scorers that are gone, and late rows


@pytest.mark.parametrize("but", [*states_but("scoring"), "lease_until = now()"])
def test_only_a_scorer_whose_lease_has_ended_is_gone_and_the_oldest_is_found_first(
    moment: Connection, but: str
) -> None:
    gone = f"lease_until = {EARLIER}"
    window(moment, 1, "scoring", but=gone if but.startswith("state") else but)
    if but.startswith("state"):
        alter(moment, "windows", but)
    for number in (3, 2):
        window(moment, number, "scoring", but=gone)

    found = fetch_pairs(moment, "expired_claims.expired_scoring", str, int, limit=1)
    assert list(found) == [hour(2)]


LATE = {"hours": 10, "again": 60, "limit": 10, "older": 0}


def late(connection: Connection, **terms: int) -> set[str]:
    found = fetch_values(connection, "late_rows.to_check", str, **LATE | terms)
    return set(found)


@pytest.mark.parametrize(
    "state", ["scored", "training", "trained", "held_out", "skipped", "failed"]
)
def test_whatever_was_scored_is_looked_through_for_late_rows_once_in_a_while(
    moment: Connection, state: str
) -> None:
    name = window(moment, 1, state, but="scored_at = now() - interval '10 hours'")

    assert late(moment) == {name}
    assert late(moment) == set()
    alter(moment, "windows", "late_checked_at = now() - interval '60 s'")
    assert late(moment) == set()
    alter(moment, "windows", "late_checked_at = now() - interval '60.001 s'")
    assert late(moment) == {name}


@pytest.mark.parametrize(
    "but",
    [
        *("state = 'open'", "state = 'sealed'", "state = 'scoring'"),
        "scored_at = now() - interval '10 hours 1 ms'",
        "scored_at = NULL",
    ],
)
def test_what_was_not_scored_or_long_ago_is_not_looked_through(
    moment: Connection, but: str
) -> None:
    window(moment, 1, but="scored_at = now()")
    alter(moment, "windows", but)

    assert late(moment) == set()


def test_what_was_never_looked_through_comes_first_then_what_was_longest_ago(
    moment: Connection,
) -> None:
    for number, checked in ((1, "2"), (2, "3"), (4, None), (3, None)):
        ago = "NULL" if checked is None else f"now() - interval '{checked} hours'"
        window(moment, number, but=f"scored_at = now(), late_checked_at = {ago}")

    assert [late(moment, limit=1) for _ in range(4)] == [
        {hour(3)},
        {hour(4)},
        {hour(2)},
        {hour(1)},
    ]


# --- to end for their age


@pytest.mark.parametrize(
    "but",
    [
        *states_but("scored"),
        "rescore = 'rows changed'",
        f"waits_until = {LATER}",
        "starts_at = starts_at + interval '1 ms'",
    ],
)
def test_an_hour_that_is_not_too_old_to_be_trained_is_not_ended(
    moment: Connection, but: str
) -> None:
    window(moment, 1)
    alter(
        moment,
        "windows",
        f"starts_at = starts_at - interval '1 ms', {but}".replace(
            "- interval '1 ms', starts_at = starts_at + interval '1 ms'", ""
        ),
    )
    old = window(moment, 2, but="starts_at = starts_at - interval '1 hour 1 ms'")
    alter(moment, "windows", "reward_version = 4")
    window(moment, 11, "sealed")
    window(moment, 20, "open")

    assert step_windows.outdated(moment, 10, 10, lineage="babylon") == {old: 4}


def test_the_oldest_hours_are_ended_first(moment: Connection) -> None:
    for number in (2, 1, 3):
        window(moment, number, but="waits_until = now()")
    window(moment, 20, "sealed")

    assert list(step_windows.outdated(moment, 10, 2, lineage="babylon")) == [hour(1), hour(2)]


# --- of a step


@pytest.mark.parametrize("but", [*states_but("scored"), "reward_version = 2"])
def test_a_plan_is_void_where_a_window_of_it_has_changed(moment: Connection, but: str) -> None:
    versions = {window(moment, 1): 1, window(moment, 2): 1}
    window(moment, 3)
    assert step_windows.lock_scored(moment, versions, lineage="babylon")

    moment.execute(f"UPDATE training.windows SET {but} WHERE window_id = %s", [hour(2)])  # type: ignore[arg-type]  # noqa: S608

    assert not step_windows.lock_scored(moment, versions, lineage="babylon")


@pytest.mark.parametrize("state", [state for state in WindowState if state != "training"])
def test_runs_are_counted_for_those_windows_of_a_step_that_are_in_training(
    moment: Connection, state: WindowState
) -> None:
    two, one = window(moment, 2, "training"), window(moment, 1, "training")
    strange, other = window(moment, 3, state), window(moment, 4, "training")

    step_windows.count_attempts(moment, [two, strange, one], 2, lineage="babylon")

    found = step_windows.in_training(moment, [two, strange, one], lineage="babylon")
    assert [(row.window, row.attempts) for row in found] == [(one, 2), (two, 2)]
    counted = "SELECT training_tries FROM training.windows WHERE window_id = ANY (%s)"
    assert column(moment, counted, [strange, other]) == [0, 0]


# --- rewritten rows


@pytest.mark.parametrize(
    ("but", "changes", "why"),
    [
        ("changes = 0", 1, "rows changed"),
        ("changes = 2", 3, "rows changed"),
        ("changes = 3", 3, None),
        ("rescore = 'outcomes'", 0, "outcomes"),
        ("state = 'trained'", 0, None),
    ],
)
def test_a_window_is_marked_for_changed_rows_three_times_unless_it_is_marked_or_trained(
    moment: Connection, but: str, changes: int, why: str | None
) -> None:
    name, other = window(moment, 1, but=but), window(moment, 2)

    mark_changed(moment, name, 1, lineage="babylon", actor="test")

    marks = "SELECT changes, rescore FROM training.windows ORDER BY window_id"
    assert moment.execute(marks).fetchall() == [(changes, why), (0, None)]
    assert other == hour(2)
    assert len(column(moment, "SELECT id FROM training.events")) == (why == "rows changed")


@pytest.mark.parametrize(("wait", "over"), [("60", True), ("60.001", False)])
def test_the_wait_for_outcomes_counts_from_the_end_of_the_hour(
    moment: Connection, wait: str, over: bool
) -> None:
    name = window(moment, 1, but="starts_at = now() - interval '1 hour 60 s'")
    window(moment, 2, but="starts_at = now() - interval '1 year'")

    about = {"window": name, "wait_seconds": float(wait)}
    assert fetch_value(moment, "scoring.wait_is_over", bool, **about) is over
