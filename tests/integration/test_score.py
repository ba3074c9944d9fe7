"""Scoring a window on a real Postgres: bad rows, rivals, crashes, outcomes, verdicts."""

from __future__ import annotations

import threading
from collections.abc import Callable, Sequence
from datetime import timedelta
from typing import Any

import pytest
from factories import (
    WINDOW,
    Row,
    action,
    exact_call,
    fill_window,
    insert,
    insert_outcomes,
    insert_trajectories,
    llm_call,
    market_outcome,
    plugin_step,
    step,
    stock_outcome,
    trajectory,
)

from babylon_tasks.db import scoring as claims
from babylon_tasks.db.scoring import Claim, Standing
from babylon_tasks.db.session import Connection
from babylon_tasks.errors import DatabaseUnavailable, ScoringFailed, StaleLease, WindowNotFound
from babylon_tasks.pipeline import score
from babylon_tasks.pipeline.score import Scoring, score_window
from babylon_tasks.records import Evidence, Score
from babylon_tasks.scoring.choice import SCORERS
from babylon_tasks.settings import Settings
from babylon_tasks.states import WindowState
from babylon_tasks.windows import window_start

LATER = "2026-01-31T11:00"
MakeSettings = Callable[..., Settings]


def seal(connection: Connection, window: str = WINDOW, **columns: Any) -> None:
    row = {"window_id": window, "starts_at": window_start(window), "held_out": False}
    insert(connection, "training.windows", [{**row, "state": "sealed", **columns}])


def run(settings: Settings, window: str = WINDOW) -> Scoring:
    return score_window(settings, window, actor="test")


def rejections(connection: Connection) -> dict[str, str]:
    return dict(
        connection.execute("SELECT trajectory_id, reason FROM training.rejections").fetchall()
    )


def components(connection: Connection) -> dict[str, dict[str, float]]:
    return dict(
        connection.execute("SELECT trajectory_id, components FROM training.scores").fetchall()
    )


def one(connection: Connection, columns: str, table: str = "training.windows") -> tuple[Any, ...]:
    row = connection.execute(f"SELECT {columns} FROM {table}").fetchone()  # type: ignore[arg-type]  # noqa: S608
    assert row is not None
    return row


def count(connection: Connection, table: str) -> int:
    return int(one(connection, "count(*)", table)[0])


def events(connection: Connection) -> list[str]:
    rows = connection.execute("SELECT kind FROM training.events ORDER BY id").fetchall()
    return [kind for (kind,) in rows]


def test_a_window_is_scored_with_its_components_in_one_go(
    settings: Settings, connection: Connection
) -> None:
    ids = fill_window(connection, agents=4, spread=200)
    seal(connection)
    done = run(settings)
    assert (done.state, done.claimed, done.reason) == (WindowState.SCORED, True, None)
    assert (done.trajectories, done.agents, done.scored, done.rejected) == (4, 4, 4, {})
    rows = connection.execute(
        "SELECT trajectory_id, agent_id, group_key, scorer, scorer_version, reward, components "
        "FROM training.scores ORDER BY reward"
    ).fetchall()
    assert [row[0] for row in rows] == ids
    assert [row[1] for row in rows] == ["agent-1", "agent-2", "agent-3", "agent-4"]
    assert {row[2:5] for row in rows} == {("", "default", "2")}
    assert rows[0][6] == {"profit": -100.0, "activity": 0.1}
    mean = sum(row[5] for row in rows) / 4
    state, scored, agents, stored, owner = one(
        connection, "state, scored, agents, reward_mean, lease_owner"
    )
    assert (state, scored, agents, owner) == ("scored", 4, 4, None)
    assert stored == pytest.approx(mean)
    assert (done.profit_mean, done.right_share) == (pytest.approx(0), None)
    assert events(connection) == ["scored"]


def bad_rows() -> dict[str, Row]:
    """Reason by row, one of each kind that a real database holds."""
    nul = step(calls=[llm_call("a\0b")])
    return {
        "malformed_json": trajectory(steps_json='[{"stepNumber": 0,'),
        "no_llm_calls": trajectory(steps=[step(calls=[]), step(1, calls=[])]),
        "not_finite": trajectory(steps_json='[{"environmentState":{"agentPnL":NaN}}]'),
        "too_large": trajectory(steps_json='[{"x":"' + "long " * 4_000_000 + '"}]'),
        "no_steps": trajectory(steps=[]),
        "unstorable_text": trajectory(steps=[nul, nul]),
        "bad_shape": trajectory(steps_json='{"steps":[]}'),
        "bad_logprobs": trajectory(steps=[step(calls=[exact_call(logprobs=[0.5, 0.5])])]),
        "too_deep": trajectory(steps_json='[{"x":' + "[" * 5000 + "]" * 5000 + "}]"),
        "evaluation_row": trajectory(isEvaluation=True),
        "not_training_data": trajectory(isTrainingData=False),
        "already_used": trajectory(usedInTraining=True),
        "no_evidence": trajectory(steps=[step(action=action("HOLD"))], final_pnl=None),
    }


def test_bad_rows_never_stop_a_window(settings: Settings, connection: Connection) -> None:
    good = fill_window(connection)
    bad = bad_rows()
    insert_trajectories(connection, list(bad.values()))
    surrogate = trajectory(steps_json=r'[{"reward":0,"x":"\ud800"}]')
    nan = trajectory(final_pnl=float("nan"))
    insert_trajectories(connection, [surrogate, nan])
    usable = [
        trajectory(steps=[step(0, [llm_call()]), step(1)]),  # a call without logprobs is scored
        trajectory(steps=[step(0, novelty={"a": [1]}), step(1, [llm_call(purpose="dream")])]),
        trajectory(None, steps=[plugin_step(0), plugin_step(1)]),
    ]
    good += insert_trajectories(connection, usable)
    seal(connection)
    done = run(settings)
    assert done.state == WindowState.SCORED
    expected = {row["trajectoryId"]: reason for reason, row in bad.items()}
    expected |= {surrogate["trajectoryId"]: "unstorable_text", nan["trajectoryId"]: "not_finite"}
    assert rejections(connection) == expected
    assert set(components(connection)) == set(good)
    assert sum(done.rejected.values()) == one(connection, "rejected")[0] == len(expected)
    assert done.trajectories == len(expected) + len(good)


def test_a_row_that_is_too_large_never_leaves_the_server(
    make_settings: MakeSettings, connection: Connection
) -> None:
    fill_window(connection)
    [large] = insert_trajectories(connection, [trajectory(steps=[step(note="x" * 9000)])])
    seal(connection)
    run(make_settings(max_steps_bytes=8000))
    assert rejections(connection) == {large: "too_large"}


def test_rows_heavier_than_a_batch_are_read_all_the_same(
    settings: Settings, connection: Connection
) -> None:
    rows = [
        trajectory(agent=f"a-{n}", steps=[step(0, note="x" * 1_500_000), step(1, pnl=n)])
        for n in range(5)
    ]
    insert_trajectories(connection, rows)
    seal(connection)
    assert run(settings).scored == 5


def test_rows_without_a_window_belong_to_the_hour_they_began_in(
    settings: Settings, connection: Connection
) -> None:
    hour = window_start(WINDOW).replace(tzinfo=None)
    inside = [hour, hour.replace(minute=59, second=59)]
    outside = [hour.replace(hour=8, minute=59), hour.replace(hour=10)]
    rows = [
        trajectory(None, f"a-{n}", startTime=start, final_pnl=float(n))
        for n, start in enumerate(inside + outside)
    ]
    ids = insert_trajectories(connection, rows)
    seal(connection)
    assert run(settings).trajectories == 2
    assert set(components(connection)) == set(ids[:2])


def test_groups_are_scenarios_and_the_window_itself_is_none(
    settings: Settings, connection: Connection
) -> None:
    rows = [
        trajectory(agent=f"a-{n}", scenario=scenario, final_pnl=float(n))
        for n, scenario in enumerate([None, None, "bull\tish\\", "bull\tish\\"])
    ]
    insert_trajectories(connection, rows)
    seal(connection)
    run(settings)
    keys = connection.execute("SELECT group_key FROM training.scores ORDER BY agent_id").fetchall()
    assert [key for (key,) in keys] == ["", "", "bull\tish\\", "bull\tish\\"]


def traded(**keys: Any) -> list[Row]:
    return [step(0, action=action(**keys)), step(1, action=action("HOLD"))]


def test_outcomes_of_a_later_window_are_joined(settings: Settings, connection: Connection) -> None:
    right, wrong, short = insert_trajectories(
        connection,
        [
            trajectory(agent="a", steps=traded(market="m-1", side="YES")),
            trajectory(agent="b", steps=traded(market="m-1", side="NO")),
            trajectory(agent="c", steps=traded(market=None, ticker="ACME", side="short")),
        ],
    )
    insert_outcomes(
        connection,
        [
            market_outcome("m-1", "NO", "2026-01-31T08:00"),  # before: about something else
            market_outcome("m-1", "NO", WINDOW),
            market_outcome("m-1", "YES", LATER),  # the latest word counts
            stock_outcome("ACME", 3.0, "2026-01-31T08:00"),
            stock_outcome("ACME", -2.0, "2026-01-31T10:00"),  # the first hour from here on counts
            stock_outcome("ACME", 5.0, LATER),
        ],
    )
    seal(connection)
    run(settings)
    found = {key: parts["decisions"] for key, parts in components(connection).items()}
    assert found == {right: 1.0, wrong: -1.0, short: 1.0}


def test_a_market_that_has_not_ended_is_no_evidence(
    settings: Settings, connection: Connection
) -> None:
    insert_trajectories(
        connection,
        [
            trajectory(agent="a", steps=traded(market="m-1")),
            trajectory(agent="b", steps=traded(market="m-2"), final_pnl=9.0),
            trajectory(agent="c", steps=traded(market=None, ticker="ACME", side="long")),
        ],
    )
    insert_outcomes(
        connection,
        [
            market_outcome("m-1", "YES", "2026-01-31T08:00"),
            market_outcome("m-2", outcome="UNRESOLVED"),
            stock_outcome("ACME", changePercent=None, endPrice=None),
        ],
    )
    seal(connection)
    run(settings)
    assert all("decisions" not in parts for parts in components(connection).values())


def test_a_missing_change_follows_from_the_prices(
    settings: Settings, connection: Connection
) -> None:
    rows = [
        trajectory(agent=a, steps=traded(market=None, ticker="ACME", side=side))
        for a, side in (("a", "long"), ("b", "short"))
    ]
    long, short = insert_trajectories(connection, rows)
    insert_outcomes(connection, [stock_outcome("ACME", 4.0, changePercent=None)])
    seal(connection)
    run(settings)
    assert components(connection)[long]["decisions"] == 1.0
    assert components(connection)[short]["decisions"] == -1.0


@pytest.mark.parametrize(
    ("agents", "spread", "held_out", "state", "reason"),
    [
        (0, 0, False, "skipped", "nothing_usable"),
        (1, 100, False, "skipped", "too_few_agents"),
        (3, 0, False, "skipped", "no_spread"),
        (3, 0, True, "held_out", None),
        (3, 100, True, "held_out", None),
        (3, 100, False, "scored", None),
    ],
)
def test_the_verdict_is_stored_and_told(
    settings: Settings,
    connection: Connection,
    agents: int,
    spread: float,
    held_out: bool,
    state: str,
    reason: str | None,
) -> None:
    fill_window(connection, agents=agents, spread=spread)
    seal(connection, held_out=held_out)
    done = run(settings)
    assert (done.state, done.reason) == (state, reason)
    assert one(connection, "state, reason, agents") == (state, reason, agents)
    assert events(connection) == [state]
    assert count(connection, "training.scores") == agents


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


def test_an_unknown_window_is_said_to_be_unknown(settings: Settings) -> None:
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


def claim(settings: Settings, connection: Connection, owner: str = "first") -> Claim | Standing:
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


def test_a_retry_by_hand_does_not_let_an_old_claim_in(
    settings: Settings, connection: Connection
) -> None:
    """The attempt begins at zero again, so the owner must tell the claims apart."""
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
    clock = iter(range(0, 10_000, 40))  # every look at the clock is 40 seconds later
    monkeypatch.setattr(score.time, "monotonic", lambda: float(next(clock)))
    left: list[timedelta] = []

    def look(done: int, expected: int | None) -> None:
        left.append(one(connection, "lease_until - updated_at")[0])
        connection.execute(
            "UPDATE training.windows SET lease_until = lease_until - interval '40 seconds'"
        )

    score_window(settings, WINDOW, actor="test", on_progress=look)
    assert left == [timedelta(seconds=90)] * 4


def test_progress_tells_rows_done_and_rows_expected(
    make_settings: MakeSettings, connection: Connection
) -> None:
    fill_window(connection)
    insert_trajectories(connection, [trajectory(steps=[])])
    seal(connection, trajectories=5)
    told: list[tuple[int, int | None]] = []
    settings = make_settings(read_batch=2)
    score_window(
        settings, WINDOW, actor="test", on_progress=lambda done, of: told.append((done, of))
    )
    assert told == [(2, 5), (4, 5), (5, 5)]


def test_a_server_that_ends_the_session_costs_one_attempt(
    make_settings: MakeSettings, connection: Connection
) -> None:
    fill_window(connection)
    seal(connection)
    settings = make_settings(read_batch=1)

    def cut(done: int, expected: int | None) -> None:
        connection.execute(
            "SELECT pg_terminate_backend(pid) FROM pg_stat_activity "
            "WHERE datname = current_database() AND pid <> pg_backend_pid()"
        )

    with pytest.raises(DatabaseUnavailable, match="what was not committed is undone"):
        score_window(settings, WINDOW, actor="test", on_progress=cut)
    assert one(connection, "state, attempt") == ("sealed", 1)
    assert count(connection, "training.scores") == 0
    assert run(settings).state == WindowState.SCORED
