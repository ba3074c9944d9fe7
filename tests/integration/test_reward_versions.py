"""A window waits for the markets of its bets; what comes or changes later makes new rewards."""

from __future__ import annotations

import threading
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import pytest
from factories import (
    EVER,
    WINDOW,
    action,
    exact_call,
    insert,
    insert_outcomes,
    insert_trajectories,
    market_outcome,
    step,
    stock_outcome,
    trajectory,
)
from peer import PeerTrainer
from scored_windows import column, hour

from babylon_tasks.db import lineages, progress, reports, reward_versions, windows
from babylon_tasks.db import scoring as claims
from babylon_tasks.db.outcomes import follow, settle
from babylon_tasks.db.scoring import Claim
from babylon_tasks.db.session import Connection, connect
from babylon_tasks.db.sql import queries
from babylon_tasks.db.windows import Window
from babylon_tasks.errors import ScoringFailed
from babylon_tasks.pipeline.discover import discover
from babylon_tasks.pipeline.reconcile import Reconciled, reconcile
from babylon_tasks.pipeline.score import score_window
from babylon_tasks.pipeline.train import train_window
from babylon_tasks.scoring.choice import SCORERS
from babylon_tasks.settings import Settings
from babylon_tasks.windows import window_start

MakeSettings = Callable[..., Settings]
LATER = hour(20)


@pytest.fixture
def settings(make_settings: MakeSettings) -> Settings:
    """Windows wait for a century."""
    return make_settings(lookback_hours=int(EVER), outcome_wait_hours=float(EVER))


@pytest.fixture
def hasty(make_settings: MakeSettings) -> Settings:
    """Windows never wait."""
    return make_settings(lookback_hours=int(EVER), outcome_wait_hours=0)


def bets(
    connection: Connection,
    *markets: str,
    window: str = WINDOW,
    held_out: bool = False,
    **columns: Any,
) -> list[str]:
    """A sealed window of four agents, two on YES and two on NO, on each of some markets.

    Nothing else tells the agents apart: without outcomes there is no evidence.
    """
    rows = []
    for number in range(4):
        side = "YES" if number % 2 else "NO"
        traded = [
            step(n, [exact_call(side, model="babylon@0")], action=action(market=market, side=side))
            for n, market in enumerate(markets)
        ]
        rows.append(trajectory(window, f"agent-{number}", traded, final_pnl=None, **columns))
    ids = insert_trajectories(connection, rows)
    seal(connection, window, held_out=held_out)
    return ids


def seal(connection: Connection, window: str, *, held_out: bool = False) -> None:
    row = {"window_id": window, "starts_at": window_start(window), "held_out": held_out}
    insert(connection, "training.windows", [{**row, "state": "sealed"}])
    connection.execute("UPDATE training.windows SET sealed_at = now() - interval '2 hours'")


def score(settings: Settings, window: str = WINDOW) -> str:
    return score_window(settings, window, actor="test").state


def ends(connection: Connection, market: str, *, yes: bool = True, at: str = LATER) -> None:
    settle(connection, at, market, question="q", yes=yes)


def upkeep(settings: Settings, connection: Connection) -> Reconciled:
    """What beat does in an hour of its own."""
    for moment in ("scored_at", "sealed_at", "enqueued_at"):
        statement = f"UPDATE training.windows SET {moment} = {moment} - interval '1 hour'"  # noqa: S608
        connection.execute(statement)  # type: ignore[arg-type]
    discover(settings, actor="test")
    connection.execute("UPDATE training.windows SET enqueued_at = NULL")
    return reconcile(settings, actor="test")


def wait_is_over(connection: Connection) -> None:
    connection.execute(
        "UPDATE training.windows SET waits_until = now() WHERE waits_until IS NOT NULL"
    )


def row(connection: Connection, window: str = WINDOW) -> Window:
    return windows.get(connection, window)


def standing(connection: Connection, window: str = WINDOW) -> tuple[str, int, str | None]:
    found = row(connection, window)
    return found.state, found.reward_version, found.reason


def anew(connection: Connection) -> list[dict[str, Any]]:
    found = connection.execute(
        "SELECT detail FROM training.events WHERE kind = 'score_anew' ORDER BY id"
    )
    return [detail for (detail,) in found.fetchall()]


def rewards(connection: Connection, version: int, window: str = WINDOW) -> dict[str, float]:
    found = connection.execute(
        "SELECT trajectory_id, reward FROM training.scores"
        " WHERE reward_version = %s AND window_id = %s",
        (version, window),
    )
    return dict(found.fetchall())


# --- waiting


def test_a_window_waits_for_the_markets_that_its_bets_name(
    settings: Settings, connection: Connection
) -> None:
    ids = bets(connection, "m-1", "m-2")
    ends(connection, "m-1")
    done = score_window(settings, WINDOW, actor="test")

    assert (done.state, done.waits_for) == ("scored", 1)
    assert row(connection).waiting
    assert reward_versions.waits_for(connection, WINDOW) == ["m-2"]
    assert upkeep(settings, connection).to_train == []
    trainer = PeerTrainer(settings.data_dir)
    told = train_window(settings, trainer, window=WINDOW, actor="test")
    assert (told.action, told.reason) == (
        "busy",
        f"window {WINDOW} waits for outcomes until {row(connection).waits_until:%F %H:%M} UTC",
    )
    assert train_window(settings, trainer, window=None, actor="test").action == "idle"

    ends(connection, "m-2")
    found = upkeep(settings, connection)
    assert (found.anew, found.to_score) == ([WINDOW], [WINDOW])
    assert anew(connection) == [
        {
            "from": "scored",
            "because": "outcomes came or changed",
            "reward_version": 2,
            "came": {"m-2": "yes"},
            "outcomes": 1,
        }
    ]
    assert score(settings) == "scored"
    assert standing(connection) == ("scored", 2, None)
    assert set(rewards(connection, 1)) == set(rewards(connection, 2)) == set(ids)
    assert upkeep(settings, connection).to_train == [WINDOW]


def test_what_a_single_outcome_brings_is_left_until_all_are_known_or_the_time_is_over(
    settings: Settings, connection: Connection
) -> None:
    bets(connection, "m-1", "m-2", "m-3")
    score(settings)
    for market in ("m-1", "m-2"):
        ends(connection, market)
        assert upkeep(settings, connection).anew == []
    assert row(connection).rescore == "outcomes came or changed"
    assert column(connection, "SELECT max(reward_version) FROM training.scores") == [1]

    wait_is_over(connection)
    found = upkeep(settings, connection)
    assert (found.anew, found.to_train) == ([WINDOW], []), "not before it is scored anew"
    (told,) = anew(connection)
    assert told["came"] == {"m-1": "yes", "m-2": "yes"}
    score(settings)
    wait_is_over(connection)
    assert standing(connection) == ("scored", 2, None)
    assert upkeep(settings, connection).to_train == [WINDOW]


def test_where_nothing_came_the_window_simply_goes_on(
    settings: Settings, connection: Connection
) -> None:
    bets(connection, "m-1", "m-open")
    ends(connection, "m-1")
    score(settings)
    wait_is_over(connection)

    found = upkeep(settings, connection)
    assert (found.anew, found.to_train) == ([], [WINDOW])
    assert standing(connection) == ("scored", 1, None)


@pytest.mark.parametrize("held_out", [False, True])
def test_a_verdict_that_was_put_off_is_given_when_the_wait_is_over(
    settings: Settings, make_settings: MakeSettings, connection: Connection, held_out: bool
) -> None:
    """No outcome came: there is no evidence, and now it counts."""
    bets(connection, "m-open", held_out=held_out)
    state = score(settings)
    assert (state, row(connection).reason) == (
        "held_out" if held_out else "scored",
        "nothing_usable",
    )
    assert upkeep(settings, connection).anew == []

    wait_is_over(connection)
    assert windows.scored(connection, 10) == []
    assert held_out or row(connection).standstill == (
        "is to be scored anew: the wait for outcomes is over"
    )
    found = upkeep(settings, connection)
    assert (found.anew, found.to_train) == ([WINDOW], [])
    assert anew(connection)[0]["because"] == "the wait for outcomes is over"
    score(make_settings(outcome_wait_hours=24))  # the hour ended longer ago than that
    assert standing(connection) == ("skipped", 2, "nothing_usable")
    assert upkeep(settings, connection).anew == []


def test_no_window_waits_longer_than_its_end_and_the_setting(
    make_settings: MakeSettings, connection: Connection
) -> None:
    bets(connection, "m-open")
    assert score(make_settings(outcome_wait_hours=24)) == "skipped", "that hour is long past"
    bets(connection, "m-open", window="2999-01-01T00:00")
    score(make_settings(outcome_wait_hours=24), "2999-01-01T00:00")
    until = row(connection, "2999-01-01T00:00").waits_until
    assert f"{until:%F %H:%M}" == "2999-01-02 01:00"


def test_without_a_wait_a_window_is_judged_at_once(hasty: Settings, connection: Connection) -> None:
    bets(connection, "m-open")
    assert score(hasty) == "skipped"
    assert row(connection).waits_until is None


def test_what_was_taken_back_is_waited_for_again(
    settings: Settings, connection: Connection
) -> None:
    bets(connection, "m-1")
    score(settings)
    ends(connection, "m-1")
    upkeep(settings, connection)
    connection.execute("DELETE FROM market_outcomes")
    assert score(settings) == "scored"
    assert row(connection).waiting
    assert upkeep(settings, connection).anew == []


# --- outcomes that come or change later


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


def test_what_a_step_has_used_keeps_its_reward_and_the_rest_gets_a_new_one(
    hasty: Settings, connection: Connection
) -> None:
    ids = bets(connection, "m-1")
    ends(connection, "m-1", yes=True)
    score(hasty)
    lineages.ensure(connection, hasty)
    used = [
        {
            "lineage": "babylon",
            "trajectory_id": one,
            "reward_version": 1,
            "window_id": WINDOW,
            "use": "trained",
        }
        for one in ids[:2]
    ]
    insert(connection, "training.consumption", used)
    before = rewards(connection, 1)
    ends(connection, "m-1", yes=False, at=hour(21))

    assert upkeep(hasty, connection).anew == [WINDOW]
    assert score(hasty) == "scored"
    assert rewards(connection, 1) == before
    assert set(rewards(connection, 2)) == set(ids[2:])
    kept = "SELECT trajectory_id, reward_version FROM training.consumption ORDER BY 1"
    assert connection.execute(kept).fetchall() == [(one, 1) for one in sorted(ids[:2])]
    versions = reward_versions.of_window(connection, WINDOW)
    assert [(v.version, v.used, v.came) for v in versions] == [
        (1, 2, None),
        (2, 0, {"m-1": "no"}),
    ]


def test_a_held_out_window_is_scored_anew_and_not_valued_before_its_outcomes_are_known(
    settings: Settings, connection: Connection
) -> None:
    from babylon_tasks.db.scored_trajectories import held_out_groups

    bets(connection, "m-1", "m-2", held_out=True)
    ends(connection, "m-1")
    assert score(settings) == "held_out"
    assert held_out_groups(connection, 10) == []
    found = progress.of_window(connection, "babylon", WINDOW)
    assert found is not None
    assert not found.finished

    ends(connection, "m-2")
    upkeep(settings, connection)
    assert score(settings) == "held_out"
    (group,) = held_out_groups(connection, 10)
    assert (group.reward_version, group.members) == (2, 4)
    found = progress.of_window(connection, "babylon", WINDOW)
    assert found is not None
    assert found.finished
    ends(connection, "m-2", yes=False, at=hour(21))
    follow(connection, settings)
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
    assert row(connection).rescore is None


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
        assert row(connection).rescore == reward_versions.OUTCOMES

    trainer = PeerTrainer(settings.data_dir, during=change)
    train_window(settings, trainer, window=WINDOW, actor="test")

    assert (row(connection).state, row(connection).rescore) == ("trained", None)


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


def test_only_the_windows_that_bet_on_it_hear_of_an_outcome(
    hasty: Settings, connection: Connection
) -> None:
    for number, market in ((1, "m-1"), (2, "m-2"), (3, "m-1"), (21, "m-1")):
        bets(connection, market, window=hour(number))
        score(hasty, hour(number))
    ends(connection, "m-1", at=LATER)
    assert upkeep(hasty, connection).anew == [hour(1), hour(3)], "the last one bet after it"


def test_rows_that_planning_found_changed_take_the_same_way(
    hasty: Settings, connection: Connection
) -> None:
    bets(connection, "m-1")
    ends(connection, "m-1")
    score(hasty)
    connection.execute("UPDATE training.windows SET rescore = 'rows changed', changes = 1")
    assert upkeep(hasty, connection).anew == [WINDOW]
    assert anew(connection)[0] == {
        "from": "scored",
        "because": "rows changed",
        "reward_version": 2,
        "came": {},
        "outcomes": 0,
    }
    score(hasty)
    assert standing(connection) == ("scored", 2, None)
    assert row(connection).changes == 1


# --- bounds, rivals and crashes


def test_a_round_is_bounded_and_a_window_comes_once_in_it(
    hasty: Settings, connection: Connection
) -> None:
    for number in range(4):
        bets(connection, "m-1", window=hour(number))
        score(hasty, hour(number))
    ends(connection, "m-1")
    follow(connection, hasty)
    assert reconcile(hasty, actor="test").anew == [], "they were scored a moment ago"
    connection.execute("UPDATE training.windows SET scored_at = scored_at - interval '1 hour'")
    with connection.transaction():
        first = reward_versions.seal_again(connection, hasty, limit=3, actor="test")
    assert first == [hour(0), hour(1), hour(2)]
    assert reconcile(hasty, actor="test").anew == [hour(3)]


def test_many_upkeeps_at_once_seal_each_window_once(
    hasty: Settings, connection: Connection
) -> None:
    hours = [hour(number) for number in range(12)]
    for window in hours:
        bets(connection, "m-1", window=window)
        score(hasty, window)
    ends(connection, "m-1")
    connection.execute("UPDATE training.windows SET scored_at = scored_at - interval '1 hour'")
    barrier = threading.Barrier(6)

    def beat(_: int) -> Reconciled:
        barrier.wait()
        discover(hasty, actor="test")
        return reconcile(hasty, actor="test")

    with ThreadPoolExecutor(6) as pool:
        found = list(pool.map(beat, range(6)))
    found.append(reconcile(hasty, actor="test"))

    assert sorted(window for one in found for window in one.anew) == hours
    assert len(anew(connection)) == 12
    for window in hours:
        score(hasty, window)
    assert {standing(connection, window)[:2] for window in hours} == {("scored", 2)}


def test_an_outcome_that_arrives_while_scoring_holds_its_claim_is_not_lost(
    hasty: Settings, connection: Connection
) -> None:
    bets(connection, "m-1", "m-2")
    ends(connection, "m-1")

    def arrives(done: int, expected: int | None) -> None:
        if done:
            ends(connection, "m-1", yes=False, at=hour(21))
            discover(hasty, actor="test")

    score_window(hasty, WINDOW, actor="test", on_progress=arrives)
    assert row(connection).rescore == "outcomes came or changed"
    assert upkeep(hasty, connection).anew == [WINDOW]
    score(hasty)
    assert row(connection).rescore is None


def test_what_is_copied_while_scoring_ends_is_not_lost(
    hasty: Settings, connection: Connection
) -> None:
    """Neither sees what the other has not committed, so one waits for the other."""
    bets(connection, "m-1")
    ends(connection, "m-1")
    read, copied = threading.Event(), threading.Event()

    def halt(done: int, expected: int | None) -> None:
        read.set()
        copied.wait()

    waiters = "SELECT count(*) FROM pg_locks WHERE locktype = 'advisory' AND NOT granted"
    with ThreadPoolExecutor(1) as pool:
        work = pool.submit(score_window, hasty, WINDOW, actor="test", on_progress=halt)
        assert read.wait(60)
        with connect(hasty) as own, own.transaction():
            own.execute(queries("outcomes")["take_turn"])
            own.execute("UPDATE training.outcomes SET yes = false")
            assert reward_versions.mark(own, [("market", "m-1", LATER)]) == []
            copied.set()
            while column(connection, waiters) == [0]:
                assert not work.done(), "it ended without looking at what was copied"
        work.result()
    assert row(connection).rescore == "outcomes came or changed"


def test_a_scorer_that_dies_on_the_way_to_a_new_version_leaves_the_old_one(
    hasty: Settings, connection: Connection
) -> None:
    bets(connection, "m-1")
    ends(connection, "m-1")
    score(hasty)
    before = rewards(connection, 1)
    ends(connection, "m-1", yes=False, at=hour(21))
    upkeep(hasty, connection)
    held = claims.claim(connection, WINDOW, "gone", hasty, actor="test")
    assert isinstance(held, Claim)
    assert held.reward_version == 2
    connection.execute("UPDATE training.windows SET lease_until = now() - interval '1 s'")

    assert upkeep(hasty, connection).released == [WINDOW]
    assert standing(connection)[:2] == ("sealed", 1)
    score(hasty)
    assert standing(connection) == ("scored", 2, None)
    assert rewards(connection, 1) == before


class _Breaks:
    name = "breaks"
    version = "1"

    def __init__(self, settings: Settings) -> None:
        """It needs none."""

    def rewards(self, *_: Any) -> Any:
        raise ZeroDivisionError("scale is 0")


def test_scoring_anew_that_fails_for_good_keeps_what_there_was_and_says_so(
    hasty: Settings,
    make_settings: MakeSettings,
    connection: Connection,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setitem(SCORERS, "breaks", _Breaks)
    bets(connection, "m-1")
    ends(connection, "m-1")
    score(hasty)
    before = rewards(connection, 1)
    ends(connection, "m-1", yes=False, at=hour(21))
    upkeep(hasty, connection)
    broken = make_settings(scorer="breaks", max_attempts=2, retry_delay_seconds=0)
    for _ in range(2):
        with pytest.raises(ScoringFailed):
            score(broken)

    state, version, reason = standing(connection)
    assert (state, version) == ("failed", 1)
    assert str(reason).endswith("scale is 0; its rewards of version 1 are kept")
    assert rewards(connection, 1) == before
    assert windows.retry(connection, WINDOW, actor="test") == "sealed"
    assert score(hasty) == "scored"
    assert standing(connection) == ("scored", 2, None)


def test_a_window_that_failed_in_training_hears_of_outcomes_too(
    hasty: Settings, connection: Connection
) -> None:
    bets(connection, "m-1")
    ends(connection, "m-1")
    score(hasty)
    connection.execute("UPDATE training.windows SET state = 'failed'")
    ends(connection, "m-1", yes=False, at=hour(21))
    assert upkeep(hasty, connection).anew == []
    assert windows.retry(connection, WINDOW, actor="test") == "scored"
    assert upkeep(hasty, connection).anew == [WINDOW]


def test_a_row_that_came_late_is_scored_where_its_window_is_scored_anew(
    hasty: Settings, connection: Connection
) -> None:
    bets(connection, "m-1")
    ends(connection, "m-1")
    score(hasty)
    late = trajectory(agent="late", steps=[step(action=action(market="m-1"))])
    insert_trajectories(connection, [late])
    connection.execute("""UPDATE trajectories SET "createdAt" = now() AT TIME ZONE 'UTC'
                          WHERE "agentId" = 'late'""")
    assert upkeep(hasty, connection).late == 1
    ends(connection, "m-1", yes=False, at=hour(21))
    upkeep(hasty, connection)
    score(hasty)
    assert late["trajectoryId"] in rewards(connection, 2)
    connection.execute("UPDATE training.windows SET late_checked_at = NULL")
    assert upkeep(hasty, connection).late == 0


# --- what is told


def test_it_is_told_what_is_waited_for(settings: Settings, connection: Connection) -> None:
    bets(connection, "m-1", "m-2")
    bets(connection, "m-3", window=hour(20), held_out=True)
    score(settings)
    score(settings, hour(20))
    ends(connection, "m-1")
    follow(connection, settings)

    told = reports.standing(connection, "babylon").outcomes
    assert (told.windows, told.to_score_anew) == (2, 1)
    assert (told.next_window, told.names) == (WINDOW, ["m-2"])
    assert reports.standing(connection, "babylon").oldest_waiting is None
    history = reports.history(connection, WINDOW)
    assert history.waits_for == ["m-2"]
    assert [v.version for v in history.reward_versions] == [1]
