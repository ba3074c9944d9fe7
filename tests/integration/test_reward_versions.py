"""Outcomes that come or change later make a new reward version."""

from __future__ import annotations

import pytest
from betting_windows import LATER, anew, bets, ends, rewards, row, score, seal, standing, upkeep
from factories import (
    EVER,
    WINDOW,
    action,
    insert,
    insert_outcomes,
    insert_trajectories,
    market_outcome,
    step,
    stock_outcome,
    trajectory,
)
from peer import PeerTrainer
from scored_windows import hour
from scoring_runs import MakeSettings

from babylon_tasks.db import lineages, progress, reward_versions, scored_trajectories
from babylon_tasks.db.invariants import violations
from babylon_tasks.db.outcomes import follow
from babylon_tasks.db.session import Connection
from babylon_tasks.pipeline.train import train_window
from babylon_tasks.reasons import ScoreAnewReason
from babylon_tasks.settings import Settings


def use(connection: Connection, ids: list[str]) -> None:
    """Mark trajectories of the first reward version as used by a step."""
    about = {"lineage": "babylon", "reward_version": 1, "window_id": WINDOW, "use": "trained"}
    insert(connection, "training.consumption", [about | {"trajectory_id": one} for one in ids])


def test_an_outcome_that_comes_after_a_window_was_skipped_makes_evidence_of_it(
    hasty: Settings, connection: Connection
) -> None:
    bets(connection, "m-1")
    assert score(hasty) == "skipped"
    ends(connection, "m-1")
    found = upkeep(hasty, connection)
    assert (found.anew, found.to_score) == ([WINDOW], [WINDOW])
    assert score(hasty) == "scored"
    assert standing(connection) == ("scored", 2, None)


def test_an_outcome_that_changes_turns_the_rewards_and_overwrites_none(
    hasty: Settings, connection: Connection
) -> None:
    bets(connection, "m-1")
    ends(connection, "m-1", yes=True)
    score(hasty)
    before = rewards(connection, 1)
    connection.execute("UPDATE market_outcomes SET outcome = 'NO'")

    assert upkeep(hasty, connection).anew == [WINDOW]
    score(hasty)
    assert rewards(connection, 1) == before
    after = rewards(connection, 2)
    assert {one: after[one] < 0.5 for one in after} == {one: before[one] > 0.5 for one in before}
    assert upkeep(hasty, connection).anew == [], "once is enough"


@pytest.mark.parametrize(
    "take_back",
    ["DELETE FROM market_outcomes", "UPDATE market_outcomes SET outcome = 'CANCELLED'"],
)
def test_an_outcome_that_is_taken_back_counts_no_more(
    hasty: Settings, connection: Connection, take_back: str
) -> None:
    bets(connection, "m-1")
    ends(connection, "m-1")
    score(hasty)
    connection.execute(take_back)  # type: ignore[arg-type]
    assert upkeep(hasty, connection).anew == [WINDOW]
    assert anew(connection)[0]["came"] == {"m-1": None}
    assert score(hasty) == "skipped"


def test_what_a_step_has_used_is_compared_with_the_rest_and_used_with_the_reward_it_had(
    hasty: Settings, connection: Connection
) -> None:
    ids = bets(connection, "m-1")
    ends(connection, "m-1", yes=True)
    score(hasty)
    lineages.ensure(connection, hasty)
    use(connection, ids[:2])
    before = rewards(connection, 1)
    ends(connection, "m-1", yes=False, at=hour(21))

    assert upkeep(hasty, connection).anew == [WINDOW]
    assert score(hasty) == "scored"
    assert rewards(connection, 1) == before
    after = rewards(connection, 2)
    assert {one: after[one] < 0.5 for one in ids} == {one: before[one] > 0.5 for one in ids}
    listed = scored_trajectories.list_unused(connection, WINDOW, 2, hasty.lineage)
    assert sorted(one.trajectory_id for one in listed) == sorted(ids[2:])
    kept = "SELECT trajectory_id, reward_version FROM training.consumption ORDER BY 1"
    assert connection.execute(kept).fetchall() == [(one, 1) for one in sorted(ids[:2])]
    versions = reward_versions.of_window(connection, WINDOW)
    assert [(v.version, v.used, v.came) for v in versions] == [
        (1, 2, None),
        (2, 0, {"m-1": "no"}),
    ]
    assert row(connection).scored == len(ids)
    assert violations(connection, hasty) == []
    connection.execute("UPDATE training.windows SET scored = 5")
    assert [found.invariant for found in violations(connection, hasty)] == [
        "scores_that_were_not_counted"
    ]


def test_a_held_out_window_is_scored_anew_and_not_valued_before_its_outcomes_are_known(
    patient: Settings, connection: Connection
) -> None:
    from babylon_tasks.db.scored_trajectories import held_out_groups

    bets(connection, "m-1", "m-2", held_out=True)
    ends(connection, "m-1")
    assert score(patient) == "held_out"
    assert held_out_groups(connection, 10) == []
    found = progress.of_window(connection, "babylon", WINDOW)
    assert found is not None
    assert not found.finished

    ends(connection, "m-2")
    upkeep(patient, connection)
    assert score(patient) == "held_out"
    (group,) = held_out_groups(connection, 10)
    assert (group.reward_version, group.members) == (2, 4)
    found = progress.of_window(connection, "babylon", WINDOW)
    assert found is not None
    assert found.finished
    ends(connection, "m-2", yes=False, at=hour(21))
    follow(connection, patient)
    found = progress.of_window(connection, "babylon", WINDOW)
    assert found is not None
    assert not found.finished


def test_a_window_in_training_is_left_alone_until_it_is_back(
    hasty: Settings, connection: Connection
) -> None:
    bets(connection, "m-1")
    ends(connection, "m-1")
    score(hasty)
    connection.execute("UPDATE training.windows SET state = 'training'")
    ends(connection, "m-1", yes=False, at=hour(21))
    assert upkeep(hasty, connection).anew == []
    connection.execute("UPDATE training.windows SET state = 'scored'")
    assert upkeep(hasty, connection).anew == [WINDOW]


def test_what_is_trained_whole_is_never_scored_anew(
    hasty: Settings, connection: Connection
) -> None:
    bets(connection, "m-1")
    score(hasty)
    connection.execute("UPDATE training.windows SET state = 'trained'")
    ends(connection, "m-1")
    assert upkeep(hasty, connection).anew == []
    assert row(connection).score_anew is None


def test_what_a_step_takes_whole_while_an_outcome_changes_waits_for_no_scoring(
    make_settings: MakeSettings, connection: Connection
) -> None:
    settings = make_settings(
        lookback_hours=int(EVER), outcome_wait_hours=0, max_staleness_hours=int(EVER)
    )
    bets(connection, "m-1")
    ends(connection, "m-1")
    assert score(settings) == "scored"

    def change() -> None:
        ends(connection, "m-1", yes=False, at=hour(21))
        upkeep(settings, connection)
        assert row(connection).score_anew == ScoreAnewReason.OUTCOMES

    trainer = PeerTrainer(settings.data_dir, during=change)
    train_window(settings, trainer, window=WINDOW, actor="test")

    assert (row(connection).state, row(connection).score_anew) == ("trained", None)


def test_what_a_step_leaves_over_while_an_outcome_changes_is_scored_anew(
    make_settings: MakeSettings, connection: Connection
) -> None:
    settings = make_settings(
        lookback_hours=int(EVER),
        outcome_wait_hours=0,
        max_staleness_hours=int(EVER),
        max_group_size=2,
        step_token_budget=1,
    )
    bets(connection, "m-1")
    ends(connection, "m-1")
    assert score(settings) == "scored"

    def change() -> None:
        ends(connection, "m-1", yes=False, at=hour(21))
        follow(connection, settings)

    trainer = PeerTrainer(settings.data_dir, during=change)
    train_window(settings, trainer, window=WINDOW, actor="test")

    assert (row(connection).state, row(connection).left_over) == ("scored", 2)
    assert upkeep(settings, connection).anew == [WINDOW]


def test_what_a_step_has_used_is_not_late_where_the_rest_is_scored_anew(
    hasty: Settings, connection: Connection
) -> None:
    ids = bets(connection, "m-1")
    ends(connection, "m-1")
    score(hasty)
    lineages.ensure(connection, hasty)
    use(connection, ids[:2])
    ends(connection, "m-1", yes=False, at=hour(21))
    upkeep(hasty, connection)
    assert score(hasty) == "scored"

    connection.execute("UPDATE training.windows SET late_checked_at = NULL")
    assert upkeep(hasty, connection).late == 0


def test_of_a_used_window_whose_rest_shows_nothing_any_more_nothing_is_left_over(
    hasty: Settings, connection: Connection
) -> None:
    ids = bets(connection, "m-1")
    ends(connection, "m-1")
    score(hasty)
    lineages.ensure(connection, hasty)
    use(connection, ids[:2])
    connection.execute("UPDATE training.windows SET left_over = 2")
    connection.execute("DELETE FROM market_outcomes")
    upkeep(hasty, connection)

    assert score(hasty) == "trained"
    assert row(connection).left_over == 0


def test_outcomes_do_not_revive_what_planning_has_skipped(
    hasty: Settings, connection: Connection
) -> None:
    ids = bets(connection, "m-1")
    ends(connection, "m-1")
    score(hasty)
    connection.execute("UPDATE training.windows SET state = 'skipped', reason = 'other_policy'")
    rejection = {
        "trajectory_id": ids[0],
        "window_id": WINDOW,
        "reward_version": 1,
        "stage": "dataset",
        "reason": "other_policy",
    }
    insert(connection, "training.rejections", [rejection])
    ends(connection, "m-1", yes=False, at=hour(21))
    assert upkeep(hasty, connection).anew == []


def test_the_same_word_in_another_hour_is_nothing_new(
    hasty: Settings, connection: Connection
) -> None:
    """Babylon's tracker writes a row for each hour."""
    rows = [
        trajectory(agent="a", steps=[step(action=action(market="m-1"))]),
        trajectory(agent="b", steps=[step(action=action(market=None, ticker="ACME", side="long"))]),
        trajectory(
            agent="c", steps=[step(action=action("TRADE", market="BETA", side="open_long"))]
        ),
    ]
    insert_trajectories(connection, rows)
    seal(connection, WINDOW)
    insert_outcomes(connection, [market_outcome("m-1", "YES", WINDOW)])
    insert_outcomes(connection, [stock_outcome(t, 2.0, WINDOW) for t in ("ACME", "BETA")])
    score(hasty)
    insert_outcomes(connection, [market_outcome("m-1", "yes", hour(10))])
    insert_outcomes(connection, [stock_outcome(t, -9.0, hour(10)) for t in ("ACME", "BETA")])
    assert upkeep(hasty, connection).anew == []
    at = """WHERE "stockTicker" IS NOT NULL AND "windowId" = '2026-01-31T09:00'"""
    connection.execute(f'UPDATE market_outcomes SET "changePercent" = 1 {at}')  # type: ignore[arg-type]  # noqa: S608
    assert upkeep(hasty, connection).anew == [], "where it went counts, not how far"

    connection.execute(f"DELETE FROM market_outcomes {at}")  # type: ignore[arg-type]  # noqa: S608
    assert upkeep(hasty, connection).anew == [WINDOW]
    assert anew(connection)[0]["came"] == {"ACME": -9.0, "BETA": -9.0}


def test_an_outcome_marks_only_the_windows_that_bet_on_it(
    hasty: Settings, connection: Connection
) -> None:
    for number, market in ((1, "m-1"), (2, "m-2"), (3, "m-1"), (21, "m-1")):
        bets(connection, market, window=hour(number))
        score(hasty, hour(number))
    ends(connection, "m-1", at=LATER)
    assert upkeep(hasty, connection).anew == [hour(1), hour(3)], "the last one bet after it"


def test_rows_that_planning_found_changed_are_scored_anew_too(
    hasty: Settings, connection: Connection
) -> None:
    bets(connection, "m-1")
    ends(connection, "m-1")
    score(hasty)
    connection.execute("UPDATE training.windows SET rescore = 'rows changed', changes = 1")
    assert upkeep(hasty, connection).anew == [WINDOW]
    assert anew(connection)[0] == {
        "from": "scored",
        "to": "sealed",
        "because": "rows changed",
        "reward_version": 2,
        "came": {},
        "outcomes": 0,
    }
    score(hasty)
    assert standing(connection) == ("scored", 2, None)
    assert row(connection).changes == 1
