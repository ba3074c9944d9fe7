"""Scoring anew under rivals, crashes and outcomes that come meanwhile loses nothing."""

from __future__ import annotations

import threading
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import pytest
from betting_windows import LATER, anew, bets, ends, rewards, row, score, standing, upkeep
from factories import WINDOW, action, insert_trajectories, step, trajectory
from scored_windows import column, hour
from scoring_runs import MakeSettings

from babylon_tasks.db import reward_versions, window_transitions
from babylon_tasks.db import scoring as claims
from babylon_tasks.db.outcomes import follow
from babylon_tasks.db.reward_versions import ChangedOutcome
from babylon_tasks.db.scoring import Claim
from babylon_tasks.db.session import Connection, connect
from babylon_tasks.db.sql import queries
from babylon_tasks.errors import ScoringFailed
from babylon_tasks.pipeline.discover import discover
from babylon_tasks.pipeline.reconcile import reconcile
from babylon_tasks.pipeline.results import Reconciled
from babylon_tasks.pipeline.score import score_window
from babylon_tasks.scoring.choice import SCORERS
from babylon_tasks.settings import Settings


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
    assert row(connection).score_anew == "outcomes came or changed"
    assert upkeep(hasty, connection).anew == [WINDOW]
    score(hasty)
    assert row(connection).score_anew is None


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
            assert reward_versions.mark(own, [ChangedOutcome("market", "m-1", LATER)]) == []
            copied.set()
            while column(connection, waiters) == [0]:
                assert not work.done(), "it ended without looking at what was copied"
        work.result()
    assert row(connection).score_anew == "outcomes came or changed"


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
    assert window_transitions.retry(connection, WINDOW, actor="test") == "sealed"
    assert score(hasty) == "scored"
    assert standing(connection) == ("scored", 2, None)


def test_a_window_that_failed_in_training_is_marked_by_outcomes_too(
    hasty: Settings, connection: Connection
) -> None:
    bets(connection, "m-1")
    ends(connection, "m-1")
    score(hasty)
    connection.execute("UPDATE training.windows SET state = 'failed'")
    ends(connection, "m-1", yes=False, at=hour(21))
    assert upkeep(hasty, connection).anew == []
    assert window_transitions.retry(connection, WINDOW, actor="test") == "scored"
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
