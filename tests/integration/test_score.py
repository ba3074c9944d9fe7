"""A window is scored: rows in, rewards and reasons out."""

from __future__ import annotations

import secrets
from typing import Any

import pytest
from factories import (
    WINDOW,
    Row,
    action,
    exact_call,
    fill_window,
    insert_outcomes,
    insert_trajectories,
    llm_call,
    market_outcome,
    plugin_step,
    step,
    stock_outcome,
    trajectory,
)
from scoring_runs import LATER, MakeSettings, count, events, one, rejections, run, seal

from babylon_tasks.db.session import Connection
from babylon_tasks.settings import Settings
from babylon_tasks.states import WindowState
from babylon_tasks.windows import window_start


def components(connection: Connection) -> dict[str, dict[str, float]]:
    return dict(
        connection.execute("SELECT trajectory_id, components FROM training.scores").fetchall()
    )


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
    assert {row[2:5] for row in rows} == {("", "default", "3")}
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


@pytest.mark.parametrize("what", ["market", "ticker", "purpose", "question"])
def test_a_long_name_costs_no_more_than_itself(
    settings: Settings, connection: Connection, what: str
) -> None:
    """Random letters, since Postgres compresses others: no index takes more than 2,704 bytes."""
    name = secrets.token_hex(2_000)
    keys = {
        "purpose": {"actionType": f"kind-{name}"},
        "question": {"userPrompt": f"market 7{name}"},
    }
    asked = llm_call(**keys.get(what, {}))
    named = {what: name} if what in ("market", "ticker") else {}
    good = fill_window(connection)
    good += insert_trajectories(
        connection,
        [trajectory(steps=[step(calls=[asked], action=action(**named))]) for _ in range(8)],
    )
    seal(connection)
    done = run(settings)
    assert (done.state, done.scored) == (WindowState.SCORED, len(good))


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
def test_the_result_is_stored_and_returned(
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
