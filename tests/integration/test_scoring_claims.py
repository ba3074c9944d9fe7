"""Who may score a window: one claim at a time, given back, taken over, or failed for good."""

from __future__ import annotations

import threading
from collections.abc import Sequence
from datetime import timedelta
from types import SimpleNamespace

import pytest
from factories import WINDOW, fill_window, insert_trajectories, step, trajectory
from scoring_runs import MakeSettings, count, events, one, run, seal

from babylon_tasks.db import scoring as claims
from babylon_tasks.db.scoring import Claim, Unclaimed
from babylon_tasks.db.session import Connection
from babylon_tasks.errors import ScoringFailed, StaleLease, WindowNotFound
from babylon_tasks.pipeline import scoring_run
from babylon_tasks.pipeline.results import Scoring
from babylon_tasks.pipeline.score import score_window
from babylon_tasks.records import Evidence, Score
from babylon_tasks.scoring.choice import SCORERS
from babylon_tasks.settings import Settings
from babylon_tasks.states import WindowState


@pytest.mark.parametrize("state", ["open", "scored", "training", "trained", "skipped", "failed"])
def test_a_window_that_is_not_sealed_is_left_alone(
    settings: Settings, connection: Connection, state: str
) -> None:
    fill_window(connection)
    seal(connection, state=state, reason="because")
    done = run(settings)
    assert (done.state, done.claimed) == (state, False)
    assert done.reason == ("because" if state != "open" else done.reason)
    assert done.reason
    assert count(connection, "training.scores") == 0
    assert one(connection, "state, attempt") == (state, 0)


def test_an_unknown_window_is_reported_as_unknown(settings: Settings) -> None:
    with pytest.raises(WindowNotFound, match=WINDOW):
        run(settings)


def test_scoring_twice_scores_once(settings: Settings, connection: Connection) -> None:
    fill_window(connection)
    seal(connection)
    assert run(settings).claimed
    again = run(settings)
    assert (again.claimed, again.state) == (False, WindowState.SCORED)
    assert count(connection, "training.scores") == 4
    assert events(connection) == ["scored"]


def test_of_two_at_once_one_scores(settings: Settings, connection: Connection) -> None:
    fill_window(connection, agents=40)
    seal(connection)
    together = threading.Barrier(4)
    results: list[Scoring] = []

    def worker() -> None:
        together.wait()
        results.append(run(settings))

    threads = [threading.Thread(target=worker) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert sorted(result.claimed for result in results) == [False, False, False, True]
    assert count(connection, "training.scores") == 40
    assert events(connection) == ["scored"]


class _Breaks:
    """A scorer that fails on a third member."""

    name = "breaks"
    version = "1"

    def __init__(self, settings: Settings) -> None:
        """It needs none."""

    def rewards(
        self,
        members: Sequence[Evidence],
        reference: Sequence[Evidence],  # noqa: ARG002
    ) -> list[Score | None]:
        if len(members) > 2:
            raise ZeroDivisionError("scale is 0")
        return [Score(0.5, {}) for _ in members]


@pytest.fixture
def breaking(make_settings: MakeSettings, monkeypatch: pytest.MonkeyPatch) -> Settings:
    monkeypatch.setitem(SCORERS, "breaks", _Breaks)
    return make_settings(scorer="breaks", max_attempts=2, read_batch=1, retry_delay_seconds=30)


def test_a_crash_on_the_way_leaves_nothing_but_its_story(
    breaking: Settings, connection: Connection
) -> None:
    fill_window(connection)
    seal(connection)
    with pytest.raises(ScoringFailed, match="ZeroDivisionError: scale is 0"):
        run(breaking)
    assert count(connection, "training.scores") == 0
    assert count(connection, "training.rejections") == 0
    waits = "state, attempt, lease_owner, next_attempt_at - updated_at"
    assert one(connection, waits) == ("sealed", 1, None, timedelta(seconds=30))
    kind, detail = one(connection, "kind, detail", "training.events")
    assert kind == "scoring_failed"
    assert detail["error"] == "ZeroDivisionError: scale is 0"


def test_the_last_attempt_fails_the_window_with_its_reason(
    breaking: Settings, connection: Connection
) -> None:
    fill_window(connection)
    seal(connection)
    for _ in range(2):
        with pytest.raises(ScoringFailed):
            run(breaking)
    state, reason = one(connection, "state, reason")
    assert state == "failed"
    assert reason == "scoring failed 2 times, last: ZeroDivisionError: scale is 0"
    assert run(breaking).reason == reason


def test_an_interruption_gives_the_window_back(
    make_settings: MakeSettings, connection: Connection
) -> None:
    fill_window(connection)
    seal(connection)

    def interrupt(done: int, expected: int | None) -> None:
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        score_window(make_settings(), WINDOW, actor="test", on_progress=interrupt)
    assert one(connection, "state, lease_owner") == ("sealed", None)
    assert count(connection, "training.scores") == 0
    assert run(make_settings()).state == WindowState.SCORED


def test_an_interruption_while_the_server_still_sends_cancels_the_rest(
    settings: Settings, connection: Connection
) -> None:
    rows = [trajectory(agent=f"a-{n}", steps=[step(note="x" * 5_000_000)]) for n in range(8)]
    insert_trajectories(connection, rows)
    seal(connection)

    def interrupt(done: int, expected: int | None) -> None:
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        score_window(settings, WINDOW, actor="test", on_progress=interrupt)
    assert one(connection, "state") == ("sealed",)
    busy = "count(*) FILTER (WHERE query LIKE 'COPY%' AND state = 'active')"
    assert one(connection, busy, "pg_stat_activity") == (0,)


def claim(settings: Settings, connection: Connection, owner: str = "first") -> Claim | Unclaimed:
    return claims.claim(connection, WINDOW, owner, settings, actor="test")


def expire(connection: Connection) -> None:
    connection.execute("UPDATE training.windows SET lease_until = now() - interval '1 second'")


def test_a_live_claim_is_respected(settings: Settings, connection: Connection) -> None:
    fill_window(connection)
    seal(connection)
    assert isinstance(claim(settings, connection), Claim)
    done = run(settings)
    assert (done.claimed, done.state, done.reason) == (
        False,
        WindowState.SCORING,
        "claimed by another worker",
    )


def test_a_lost_claim_is_taken_over(settings: Settings, connection: Connection) -> None:
    fill_window(connection)
    seal(connection)
    claim(settings, connection)
    expire(connection)
    assert run(settings).state == WindowState.SCORED
    assert one(connection, "attempt") == (2,)
    assert events(connection) == ["claim_lost", "scored"]


def test_claims_lost_too_often_fail_the_window(
    make_settings: MakeSettings, connection: Connection
) -> None:
    settings = make_settings(max_attempts=2)
    seal(connection)
    for _ in range(2):
        assert isinstance(claim(settings, connection), Claim)
        expire(connection)
    done = run(settings)
    assert (done.claimed, done.state) == (False, WindowState.FAILED)
    assert done.reason is not None
    assert done.reason.startswith("2 scoring claims were lost")
    assert events(connection)[-1] == "failed"


def test_a_zombie_writes_not_one_row(
    make_settings: MakeSettings, connection: Connection, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Its lease expires while it works; another scores the window; then it comes to its end."""
    settings = make_settings(read_batch=2)
    fill_window(connection)
    seal(connection)
    overtaken: list[Scoring] = []

    def overtake(done: int, expected: int | None) -> None:
        if not overtaken:
            expire(connection)
            overtaken.append(run(settings))

    with pytest.raises(StaleLease, match="attempt 1 lost its claim"):
        score_window(settings, WINDOW, actor="zombie", on_progress=overtake)
    assert overtaken[0].scored == 4
    assert count(connection, "training.scores") == 4
    assert events(connection) == ["claim_lost", "scored"]


def test_a_manual_retry_does_not_revive_an_old_claim(
    settings: Settings, connection: Connection
) -> None:
    """The attempt begins at zero again, so the owner must distinguish the claims."""
    seal(connection)
    old = claim(settings, connection, "old")
    assert isinstance(old, Claim)
    connection.execute("UPDATE training.windows SET state = 'sealed', attempt = 0")
    new = claim(settings, connection, "new")
    assert isinstance(new, Claim)
    assert old.attempts == new.attempts
    with pytest.raises(StaleLease):
        claims.renew(connection, old, settings)
    claims.renew(connection, new, settings)


def test_a_long_run_renews_its_lease(
    make_settings: MakeSettings, connection: Connection, monkeypatch: pytest.MonkeyPatch
) -> None:
    settings = make_settings(read_batch=1, lease_seconds=90)
    fill_window(connection)
    seal(connection)
    seconds = iter(range(0, 10_000, 40))  # every look at the clock is 40 seconds later
    clock = SimpleNamespace(monotonic=lambda: float(next(seconds)))
    # Of this module alone: an event loop that looks at such a clock would sleep for a day.
    monkeypatch.setattr(scoring_run, "time", clock)
    left: list[timedelta] = []

    def look(done: int, expected: int | None) -> None:
        left.append(one(connection, "lease_until - updated_at")[0])
        connection.execute(
            "UPDATE training.windows SET lease_until = lease_until - interval '40 seconds'"
        )

    score_window(settings, WINDOW, actor="test", on_progress=look)
    assert left == [timedelta(seconds=90)] * 4


def test_progress_counts_rows_done_and_rows_expected(
    make_settings: MakeSettings, connection: Connection
) -> None:
    fill_window(connection)
    insert_trajectories(connection, [trajectory(steps=[])])
    seal(connection, trajectories=5)
    reported: list[tuple[int, int | None]] = []
    settings = make_settings(read_batch=2)
    score_window(
        settings, WINDOW, actor="test", on_progress=lambda done, of: reported.append((done, of))
    )
    assert reported == [(2, 5), (4, 5), (5, 5)]
