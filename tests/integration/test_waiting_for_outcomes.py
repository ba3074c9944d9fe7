"""A window waits for the outcomes of its bets, up to a limit, and says what it waits for."""

from __future__ import annotations

import pytest
from betting_windows import (
    anew,
    bets,
    ends,
    rewards,
    row,
    score,
    seal,
    standing,
    upkeep,
    wait_is_over,
)
from factories import (
    WINDOW,
    action,
    insert_outcomes,
    insert_trajectories,
    step,
    stock_outcome,
    trajectory,
)
from peer import PeerTrainer
from scored_windows import column, hour
from scoring_runs import MakeSettings

from babylon_tasks.db import due_windows, reports, reward_versions
from babylon_tasks.db.outcomes import follow
from babylon_tasks.db.session import Connection
from babylon_tasks.pipeline.score import score_window
from babylon_tasks.pipeline.train import train_window
from babylon_tasks.settings import Settings

# --- waiting


def test_a_window_waits_for_the_markets_that_its_bets_name(
    patient: Settings, connection: Connection
) -> None:
    ids = bets(connection, "m-1", "m-2")
    ends(connection, "m-1")
    done = score_window(patient, WINDOW, actor="test")

    assert (done.state, done.waits_for) == ("scored", 1)
    assert row(connection).waiting
    assert reward_versions.waits_for(connection, WINDOW) == ["m-2"]
    assert upkeep(patient, connection).to_train == []
    trainer = PeerTrainer(patient.data_dir)
    told = train_window(patient, trainer, window=WINDOW, actor="test")
    assert (told.action, told.reason) == (
        "busy",
        f"window {WINDOW} waits for outcomes until {row(connection).waits_until:%F %H:%M} UTC",
    )
    assert train_window(patient, trainer, window=None, actor="test").action == "idle"

    ends(connection, "m-2")
    found = upkeep(patient, connection)
    assert (found.anew, found.to_score) == ([WINDOW], [WINDOW])
    assert anew(connection) == [
        {
            "from": "scored",
            "to": "sealed",
            "because": "outcomes came or changed",
            "reward_version": 2,
            "came": {"m-2": "yes"},
            "outcomes": 1,
        }
    ]
    assert score(patient) == "scored"
    assert standing(connection) == ("scored", 2, None)
    assert set(rewards(connection, 1)) == set(rewards(connection, 2)) == set(ids)
    assert upkeep(patient, connection).to_train == [WINDOW]


def test_what_a_single_outcome_brings_is_left_until_all_are_known_or_the_time_is_over(
    patient: Settings, connection: Connection
) -> None:
    bets(connection, "m-1", "m-2", "m-3")
    score(patient)
    for market in ("m-1", "m-2"):
        ends(connection, market)
        assert upkeep(patient, connection).anew == []
    assert row(connection).score_anew == "outcomes came or changed"
    assert column(connection, "SELECT max(reward_version) FROM training.scores") == [1]

    wait_is_over(connection)
    found = upkeep(patient, connection)
    assert (found.anew, found.to_train) == ([WINDOW], []), "not before it is scored anew"
    (told,) = anew(connection)
    assert told["came"] == {"m-1": "yes", "m-2": "yes"}
    score(patient)
    wait_is_over(connection)
    assert standing(connection) == ("scored", 2, None)
    assert upkeep(patient, connection).to_train == [WINDOW]


def test_where_nothing_came_the_window_simply_goes_on(
    patient: Settings, connection: Connection
) -> None:
    bets(connection, "m-1", "m-open")
    ends(connection, "m-1")
    score(patient)
    wait_is_over(connection)

    found = upkeep(patient, connection)
    assert (found.anew, found.to_train) == ([], [WINDOW])
    assert standing(connection) == ("scored", 1, None)


@pytest.mark.parametrize("held_out", [False, True])
def test_a_decision_that_was_postponed_is_made_when_the_wait_is_over(
    patient: Settings, make_settings: MakeSettings, connection: Connection, held_out: bool
) -> None:
    """No outcome came: there is no evidence, and now it counts."""
    bets(connection, "m-open", held_out=held_out)
    state = score(patient)
    assert (state, row(connection).reason) == (
        "held_out" if held_out else "scored",
        "nothing_usable",
    )
    assert upkeep(patient, connection).anew == []

    wait_is_over(connection)
    assert due_windows.scored(connection, 10, lineage="babylon") == []
    assert held_out or row(connection).why_idle == (
        "is to be scored anew: the wait for outcomes is over"
    )
    found = upkeep(patient, connection)
    assert (found.anew, found.to_train) == ([WINDOW], [])
    assert anew(connection)[0]["because"] == "the wait for outcomes is over"
    score(make_settings(outcome_wait_hours=24))  # the hour ended longer ago than that
    assert standing(connection) == ("skipped", 2, "nothing_usable")
    assert upkeep(patient, connection).anew == []


def test_no_window_waits_longer_than_its_end_and_the_setting(
    make_settings: MakeSettings, connection: Connection
) -> None:
    bets(connection, "m-open")
    assert score(make_settings(outcome_wait_hours=24)) == "skipped", "that hour is long past"
    bets(connection, "m-open", window="2999-01-01T00:00")
    score(make_settings(outcome_wait_hours=24), "2999-01-01T00:00")
    until = row(connection, "2999-01-01T00:00").waits_until
    assert f"{until:%F %H:%M}" == "2999-01-02 01:00"


def test_without_a_wait_a_window_is_decided_at_once(
    hasty: Settings, connection: Connection
) -> None:
    bets(connection, "m-open")
    assert score(hasty) == "skipped"
    assert row(connection).waits_until is None


def test_what_was_taken_back_is_waited_for_again(patient: Settings, connection: Connection) -> None:
    bets(connection, "m-1")
    score(patient)
    ends(connection, "m-1")
    upkeep(patient, connection)
    connection.execute("DELETE FROM market_outcomes")
    assert score(patient) == "scored"
    assert row(connection).waiting
    assert upkeep(patient, connection).anew == []


@pytest.mark.parametrize(("sides", "named"), [(("long", "short"), 1), (("YES", "NO"), 2)])
def test_a_bet_that_names_a_market_and_a_ticker_waits_for_either(
    patient: Settings, connection: Connection, sides: tuple[str, str], named: int
) -> None:
    """By its words the first is on the price alone; of the second nothing says what it is on."""
    rows = [
        trajectory(WINDOW, f"agent-{number}",
                   [step(action=action("TRADE", market="p-17", ticker="ACME", side=side))])
        for number, side in enumerate(sides * 2)
    ]  # fmt: skip
    insert_trajectories(connection, rows)
    seal(connection, WINDOW)
    done = score_window(patient, WINDOW, actor="test")
    assert (done.state, done.waits_for) == ("scored", 1)
    assert len(column(connection, "SELECT name FROM training.bets")) == named

    insert_outcomes(connection, [stock_outcome("ACME", -3.0)])
    follow(connection, patient)
    assert row(connection).score_anew == "outcomes came or changed"
    connection.execute("UPDATE training.windows SET state = 'sealed', rescore = NULL")
    done = score_window(patient, WINDOW, actor="test")
    assert (done.state, done.waits_for) == ("scored", 0)
    assert not row(connection).waiting


# --- what is reported


def test_reports_show_what_is_waited_for(patient: Settings, connection: Connection) -> None:
    bets(connection, "m-1", "m-2")
    bets(connection, "m-3", window=hour(20), held_out=True)
    score(patient)
    score(patient, hour(20))
    ends(connection, "m-1")
    follow(connection, patient)

    pending = reports.system_state(connection, "babylon").outcomes
    assert (pending.windows, pending.to_score_anew) == (2, 1)
    assert (pending.next_window, pending.names) == (WINDOW, ["m-2"])
    assert reports.system_state(connection, "babylon").oldest_due is None
    history = reports.history(connection, WINDOW)
    assert history.waits_for == ["m-2"]
    assert [v.version for v in history.reward_versions] == [1]
