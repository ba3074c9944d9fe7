"""Which windows are sent to scoring and training: what fails a single condition is left alone.

Every test is one transaction, in which ``now()`` stands still: so limits are met exactly.
"""

from __future__ import annotations

import pytest
from evidence import settings
from one_moment import EARLIER, LATER, alter, lineage, states_but, step, window
from scored_windows import hour

from babylon_tasks.db import due_windows, windows
from babylon_tasks.db.session import Connection

SETTINGS = settings(upkeep_interval_seconds=100)


def waiting(connection: Connection) -> list[str]:
    return [one.window for one in due_windows.scored(connection, 10, lineage="babylon")]


# --- to train


@pytest.mark.parametrize(
    "but",
    [
        *states_but("scored"),
        f"next_attempt_at = {LATER}",
        f"waits_until = {LATER}",
        "rescore = 'rows changed'",
        "reason = 'no_spread'",
    ],
)
def test_what_is_not_ready_to_be_trained_is_neither_sent_nor_taken(
    moment: Connection, but: str
) -> None:
    ready = window(moment, 2)
    window(moment, 1, but=but)

    assert waiting(moment) == [ready]
    assert due_windows.pick_to_train(moment, SETTINGS, limit=10) == [ready]


@pytest.mark.parametrize("at", ["next_attempt_at", "waits_until"])
def test_a_wait_is_over_at_its_last_moment(moment: Connection, at: str) -> None:
    one = window(moment, 1, but=f"{at} = now()")
    other = window(moment, 2, "sealed", but=f"{at} = now()")

    assert waiting(moment) == [one]
    assert windows.get(moment, one).due
    assert not windows.get(moment, one).waiting
    assert [(found.due, found.waiting) for found in windows.list_windows(moment)] == [
        (True, False),
        (True, False),
    ]
    assert due_windows.pick_to_train(moment, SETTINGS, limit=10) == [one]
    assert due_windows.pick_to_score(moment, SETTINGS, limit=10) == [other]


@pytest.mark.parametrize(
    ("but", "due", "waits"),
    [
        ("state = 'scored'", True, False),
        (f"next_attempt_at = {LATER}", False, False),
        (f"waits_until = {LATER}", False, True),
        (f"state = 'held_out', waits_until = {LATER}", False, True),
        (f"state = 'sealed', waits_until = {LATER}", False, False),
        ("rescore = 'rows changed'", False, False),
        ("reason = 'no_spread'", False, False),
        ("state = 'skipped', reason = 'no_spread'", True, False),
    ],
)
def test_a_window_says_whether_it_waits_and_whether_it_is_due(
    moment: Connection, but: str, due: bool, waits: bool
) -> None:
    name = window(moment, 1, but=but)

    for found in (windows.get(moment, name), *windows.list_windows(moment)):
        assert (found.due, found.waiting) == (due, waits)


def test_unseen_hours_come_first_from_the_oldest_on_then_left_over_ones_from_the_newest(
    moment: Connection,
) -> None:
    one, two = (window(moment, number, but="left_over = 1") for number in (1, 2))
    three, four = (window(moment, number) for number in (3, 4))

    assert waiting(moment) == [three, four, two, one]
    first = [found.window for found in due_windows.scored(moment, 3, lineage="babylon", first=one)]
    assert first == [one, three, four]
    assert due_windows.pick_to_train(moment, SETTINGS, limit=1) == [three]
    assert due_windows.pick_to_train(moment, SETTINGS, limit=2) == sorted([four, one])


@pytest.mark.parametrize(
    ("name", "until", "sent"),
    [("babylon", LATER, False), ("babylon", "now()", True), ("another", LATER, True)],
)
def test_nothing_is_sent_to_training_while_the_lineage_is_leased(
    moment: Connection, name: str, until: str, sent: bool
) -> None:
    lineage(moment, name)
    alter(moment, "lineages", f"lease_until = {until}")
    waits = window(moment, 1)

    assert due_windows.pick_to_train(moment, SETTINGS, limit=10) == [waits] * sent


def unfinished_step(connection: Connection) -> str:
    """A running step of two windows whose worker is gone; returns the first window."""
    lineage(connection)
    lineage(connection, "another", lease_owner="somebody")
    first, second = window(connection, 1, "training"), window(connection, 2, "training")
    step(connection, [first, second])
    alter(connection, "lineages", f"lease_until = {EARLIER}")
    return first


@pytest.mark.parametrize("state", ["planned", "running", "trained"])
def test_an_unfinished_step_whose_worker_is_gone_is_sent_by_its_first_window(
    moment: Connection, state: str
) -> None:
    first = unfinished_step(moment)
    alter(moment, "steps", f"state = '{state}', next_attempt_at = now()")

    assert due_windows.pick_to_train(moment, SETTINGS, limit=10) == [first]
    assert due_windows.pick_to_train(moment, SETTINGS, limit=10) == []


@pytest.mark.parametrize(
    ("table", "but"),
    [
        ("steps", "state = 'committed'"),
        ("steps", "state = 'failed'"),
        ("steps", f"next_attempt_at = {LATER}"),
        ("lineages", "lease_until = now()"),
    ],
)
def test_a_step_that_is_not_to_be_recovered_now_is_not_sent(
    moment: Connection, table: str, but: str
) -> None:
    unfinished_step(moment)
    alter(moment, table, but)

    assert due_windows.pick_to_train(moment, SETTINGS, limit=10) == []


def test_a_step_is_not_sent_twice_within_a_while(moment: Connection) -> None:
    first = unfinished_step(moment)
    moment.execute("DELETE FROM training.lineages WHERE name = 'another'")
    alter(moment, "windows", "enqueued_at = now() - interval '90 s'")
    assert due_windows.pick_to_train(moment, SETTINGS, limit=10) == []

    lineage(moment, "another")  # what was sent to that one was not sent to this one
    assert due_windows.pick_to_train(moment, SETTINGS, limit=10) == [first]
    assert due_windows.pick_to_train(moment, SETTINGS, limit=10) == []


def test_what_a_step_of_another_lineage_has_taken_is_there_for_this_one(
    moment: Connection,
) -> None:
    first = unfinished_step(moment)
    alter(moment, "steps", "lineage = 'another'")

    assert due_windows.pick_to_train(moment, SETTINGS, limit=10) == [first, hour(2)]


def test_a_step_is_not_sent_while_its_own_lineage_is_leased(moment: Connection) -> None:
    unfinished_step(moment)
    alter(moment, "lineages", f"lease_until = CASE name WHEN 'babylon' THEN {LATER} END")

    assert due_windows.pick_to_train(moment, SETTINGS, limit=10) == []


# --- to score


@pytest.mark.parametrize("but", ["state = 'sealed'", f"state = 'scoring', lease_until = {EARLIER}"])
def test_what_is_sealed_or_whose_scorer_is_gone_is_sent_to_scoring(
    moment: Connection, but: str
) -> None:
    name = window(moment, 1, but=but)

    assert due_windows.pick_to_score(moment, SETTINGS, limit=10) == [name]


@pytest.mark.parametrize(
    "but",
    [
        *states_but("sealed"),
        "state = 'scoring', lease_until = now()",
        f"state = 'trained', lease_until = {EARLIER}",
        f"next_attempt_at = {LATER}",
    ],
)
def test_what_is_not_ready_to_be_scored_is_not_sent(moment: Connection, but: str) -> None:
    window(moment, 1, "sealed", but=but)

    assert due_windows.pick_to_score(moment, SETTINGS, limit=10) == []


def test_the_oldest_is_sent_to_scoring_first(moment: Connection) -> None:
    for number in (2, 1, 3):
        window(moment, number, "sealed")

    assert due_windows.pick_to_score(moment, SETTINGS, limit=2) == [hour(1), hour(2)]
    assert due_windows.pick_to_score(moment, SETTINGS, limit=2) == [hour(3)]


@pytest.mark.parametrize(("ago", "sent"), [("90", False), ("90.001", True)])
def test_a_message_is_repeated_after_nine_tenths_of_the_upkeeps_interval(
    moment: Connection, ago: str, sent: bool
) -> None:
    before = f"enqueued_at = now() - interval '{ago} s'"
    scored, sealed = window(moment, 1, but=before), window(moment, 2, "sealed", but=before)

    assert due_windows.pick_to_train(moment, SETTINGS, limit=10) == [scored] * sent
    assert due_windows.pick_to_score(moment, SETTINGS, limit=10) == [sealed] * sent
