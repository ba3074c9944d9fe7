"""Which windows are marked to be scored anew, and which of those are sealed again."""

from __future__ import annotations

import json
from collections.abc import Sequence

import pytest
from evidence import settings
from factories import insert
from one_moment import LATER, alter, lineage, states_but, window
from scored_windows import column, hour

from babylon_tasks.db import reward_versions
from babylon_tasks.db.reward_versions import ChangedOutcome
from babylon_tasks.db.session import Connection
from babylon_tasks.states import WindowState

SETTINGS = settings(upkeep_interval_seconds=100)
OUTCOMES = "outcomes came or changed"
MARKED = "rescore = 'marked', scored_at = now() - interval '90.001 s'"
OVER = MARKED.replace("'marked'", "NULL, reason = 'no_spread', waits_until = now()")


def bet(
    connection: Connection,
    number: int,
    name: str = "m-1",
    kind: str = "market",
    yes: bool | None = None,
) -> None:
    row = {"window_id": hour(number), "kind": kind, "name": name, "yes": yes}
    insert(connection, "training.bets", [row])


def outcome(
    connection: Connection,
    number: int,
    name: str = "m-1",
    yes: bool | None = None,
    change: float | None = None,
) -> None:
    kind = "market" if change is None else "stock"
    row = {"kind": kind, "name": name, "window_id": hour(number), "yes": yes, "change": change}
    insert(connection, "training.outcomes", [row])


def sealed(connection: Connection, limit: int = 10) -> Sequence[str]:
    return reward_versions.seal_again(connection, SETTINGS, limit=limit, actor="test")


# --- sealed again


@pytest.mark.parametrize("state", ["scored", "held_out", "skipped"])
def test_what_is_marked_is_sealed_again_once(moment: Connection, state: str) -> None:
    name = window(moment, 1, state, but=MARKED)
    bet(moment, 1)

    assert sealed(moment) == [name]
    assert sealed(moment) == []


@pytest.mark.parametrize("state", ["scored", "held_out"])
def test_what_put_off_its_verdict_is_sealed_again_when_the_wait_is_over(
    moment: Connection, state: str
) -> None:
    assert sealed(moment) == []
    name = window(moment, 1, state, but=OVER)
    bet(moment, 1)

    assert sealed(moment) == [name]


@pytest.mark.parametrize(
    "but",
    [
        *(f"{MARKED}, {state}" for state in states_but("scored", "held_out", "skipped")),
        MARKED.replace("90.001", "90"),
        MARKED.replace("'marked'", "NULL"),
        f"{MARKED}, waits_until = {LATER}",
        OVER.replace("'no_spread'", "NULL"),
        OVER.replace("waits_until = now()", f"waits_until = {LATER}"),
        OVER.replace("waits_until = now()", "waits_until = NULL"),
        f"{OVER}, state = 'skipped'",
    ],
)
def test_what_is_not_to_be_scored_anew_now_is_left_as_it_is(moment: Connection, but: str) -> None:
    window(moment, 1, but=but)
    bet(moment, 1)

    assert sealed(moment) == []


def test_while_a_window_waits_it_is_scored_anew_only_where_all_is_known(
    moment: Connection,
) -> None:
    one, two = (window(moment, number, but=f"{MARKED}, waits_until = {LATER}") for number in (1, 2))
    for number, name in ((1, "m-1"), (2, "m-1"), (2, "m-2")):
        bet(moment, number, name)
    outcome(moment, 3, yes=True)

    assert sealed(moment) == [one]
    assert reward_versions.waits_for(moment, two) == ["m-2"]
    bet(moment, 2, "m-3")
    assert reward_versions.waits_for(moment, two) == ["m-2", "m-3"]
    assert reward_versions.waits_for(moment, two, limit=1) == ["m-2"]
    moment.execute("DELETE FROM training.bets WHERE name = 'm-3'")
    outcome(moment, 3, "m-2", yes=False)
    assert sealed(moment) == [two]


def test_the_oldest_is_sealed_again_first_with_what_came_for_it(moment: Connection) -> None:
    for number in (2, 1, 3):
        window(moment, number, but=MARKED)
    for name in ("m-2", "m-1", "m-3"):
        bet(moment, 1, name, yes=True if name == "m-3" else None)
    bet(moment, 2, "m-4")
    for name in ("m-1", "m-2", "m-3", "m-4"):
        outcome(moment, 4, name, yes=name != "m-2")

    assert sealed(moment, limit=2) == [hour(1), hour(2)]
    came = "SELECT detail -> 'came' FROM training.events WHERE window_id = %s"
    assert column(moment, came, hour(1)) == [{"m-1": "yes", "m-2": "no"}]


# --- marked


def marked(connection: Connection, number: int, name: str = "m-1", kind: str = "market") -> object:
    return reward_versions.mark(connection, [ChangedOutcome(kind, name, hour(number))])


@pytest.mark.parametrize("state", ["scored", "training", "held_out", "failed", "skipped"])
def test_an_outcome_that_came_marks_what_bet_on_it(moment: Connection, state: str) -> None:
    name = window(moment, 1, state)
    bet(moment, 1)
    bet(moment, 1, "m-2")
    outcome(moment, 1, yes=True)

    assert marked(moment, 1, "m-2") == []
    assert marked(moment, 1) == [name]
    assert marked(moment, 1) == []


@pytest.mark.parametrize(
    "but",
    [
        *states_but("scored", "training", "held_out", "failed", "skipped"),
        "rescore = 'marked'",
    ],
)
def test_what_has_no_rewards_or_is_marked_is_not_marked(moment: Connection, but: str) -> None:
    window(moment, 1, but=but)
    bet(moment, 1)
    outcome(moment, 1, yes=True)

    assert marked(moment, 1) == []


@pytest.mark.parametrize(
    ("bets", "outcomes"),
    [
        ({"yes": True}, {"number": 2}),
        ({"number": 3}, {"number": 2}),
        ({"name": "m-2"}, {"number": 2}),
    ],
)
def test_what_bet_on_nothing_that_changed_is_not_marked(
    moment: Connection, bets: dict[str, bool | int | str], outcomes: dict[str, int]
) -> None:
    for number in (1, 3):
        window(moment, number)
    bet(moment, **{"number": 1, **bets})  # type: ignore[arg-type]
    outcome(moment, **outcomes, yes=True)

    assert marked(moment, 2) == []


@pytest.mark.parametrize(
    ("table", "columns", "anew"),
    [
        ("consumption", {"lineage": "babylon", "use": "too_small"}, False),
        ("rejections", {"stage": "dataset", "reason": "stale"}, False),
        ("rejections", {"stage": "score", "reason": "no_evidence"}, True),
    ],
)
def test_what_planning_has_skipped_is_not_marked(
    moment: Connection, table: str, columns: dict[str, str], anew: bool
) -> None:
    lineage(moment)
    name, _ = window(moment, 1, "skipped"), window(moment, 2)
    row = {"trajectory_id": "a", "reward_version": 1, "window_id": name}
    insert(moment, f"training.{table}", [row | columns])
    for number in (1, 2):
        bet(moment, number)
    outcome(moment, 2, yes=True)

    assert marked(moment, 2) == [name] * anew + [hour(2)]


def test_a_stocks_hour_concerns_the_windows_from_its_last_one_on(moment: Connection) -> None:
    for number in range(1, 6):
        window(moment, number)
        bet(moment, number, "ACME", kind="market" if number == 4 else "stock")
    outcome(moment, 2, "ACME", change=1.0)
    outcome(moment, 4, "ACME", change=2.0)

    assert marked(moment, 4, "ACME", "stock") == [hour(3), hour(4)]


@pytest.mark.parametrize("state", WindowState)
def test_a_window_just_scored_is_marked_where_an_outcome_came_meanwhile(
    moment: Connection, state: WindowState
) -> None:
    name, other = window(moment, 1, state), window(moment, 2)
    alter(moment, "windows", "rescore = 'before'")
    bet(moment, 1)
    outcome(moment, 1, yes=True)

    reward_versions.mark_scored(moment, name)

    expected = OUTCOMES if state in ("scored", "held_out", "skipped") else None
    rows = "SELECT rescore FROM training.windows ORDER BY window_id"
    assert column(moment, rows) == [expected, "before"]
    moment.execute("UPDATE training.bets SET yes = true")
    reward_versions.mark_scored(moment, name)
    assert column(moment, rows) == [None, "before"]
    assert other == hour(2)


# --- told


def test_what_waits_is_counted_and_the_next_to_be_done_is_named(moment: Connection) -> None:
    waits = "waits_until = now() + interval '{} s'"
    for number, state, until in (
        *((1, "scored", 3), (6, "scored", 2), (2, "held_out", 2), (3, "skipped", 1)),
    ):
        window(moment, number, state, but=waits.format(until))
    window(moment, 4, but="waits_until = now(), rescore = 'marked'")
    window(moment, 5, "sealed", but="rescore = 'marked'")
    bet(moment, 2)

    found = reward_versions.waiting(moment)

    assert (found.windows, found.to_score_anew) == (3, 1)
    assert (found.next_window, found.names) == (hour(2), ["m-1"])


def test_each_reward_version_of_a_window_says_why_it_was_made_and_what_used_it(
    moment: Connection,
) -> None:
    lineage(moment)
    one, other = window(moment, 1), window(moment, 2)

    def event(name: str, kind: str, **detail: object) -> None:
        about = {"window_id": name, "kind": kind, "actor": "test"}
        insert(moment, "training.events", [about | {"detail": json.dumps(detail)}])

    event(one, "scored", reward_version=1, scored=4, right_share=0.5)
    event(one, "score_anew", reward_version=2, because="rows changed")
    event(one, "score_anew", reward_version=2, because=OUTCOMES, came={"m-1": "yes"})
    event(other, "score_anew", reward_version=2, because="rows changed")
    event(one, "score_anew", reward_version=3, because="rows changed")
    event(one, "scored", reward_version=2, scored=3, profit_mean=7.0)
    event(one, "grouped", reward_version=2)
    event(other, "scored", reward_version=1, scored=9)
    rows = [("a", 1, one), ("b", 1, one), ("c", 2, one), ("d", 2, other)]
    insert(
        moment,
        "training.consumption",
        [
            {"lineage": "babylon", "trajectory_id": name, "reward_version": version}
            | {"window_id": where, "use": "trained"}
            for name, version, where in rows
        ],
    )

    first, second = reward_versions.of_window(moment, one)

    assert (first.version, first.scored, first.used, first.right_share) == (1, 4, 2, 0.5)
    assert (first.because, first.came) == (None, None)
    assert (second.version, second.scored, second.used, second.profit_mean) == (2, 3, 1, 7.0)
    assert (second.because, second.came) == (OUTCOMES, {"m-1": "yes"})
