"""``verify-data``: what is there, what of it is trainable, why the rest is not."""

from __future__ import annotations

from collections.abc import Callable

import pytest
from factories import (
    WINDOW,
    action,
    exact_call,
    fill_window,
    insert,
    insert_outcomes,
    insert_trajectories,
    llm_call,
    market_outcome,
    step,
    trajectory,
)
from peer import PeerTrainer
from planned_steps import MANY, SOME_TOKENS, taken, train
from scored_windows import hour, scored_window

from babylon_tasks.db.session import Connection, connect
from babylon_tasks.errors import BadWindowId
from babylon_tasks.pipeline.data_report import AskedModel, DataReport, WindowData, verify_data
from babylon_tasks.pipeline.score import score_window
from babylon_tasks.registry import serving
from babylon_tasks.settings import Settings
from babylon_tasks.windows import window_start

OTHER = "2026-01-31T10:00"


def mixed(connection: Connection, window: str) -> None:
    """Four good rows, and five that are not."""
    fill_window(connection, window)
    bare = [step(0, [llm_call()], window=window), step(1, [llm_call()], window=window)]
    insert_trajectories(
        connection,
        [
            trajectory(window, steps=[]),
            trajectory(window, steps=[]),
            trajectory(window, steps_json="{"),
            trajectory(window, isEvaluation=True),
            trajectory(window, "agent-9", bare),
        ],
    )


REJECTED = {"no_steps": 2, "malformed_json": 1, "evaluation_row": 1}


def seal(connection: Connection, window: str = WINDOW, *, held_out: bool = False) -> None:
    row = {"window_id": window, "starts_at": window_start(window), "held_out": held_out}
    insert(connection, "training.windows", [row | {"state": "sealed"}])


def test_an_empty_database_has_nothing(settings: Settings) -> None:
    report = verify_data(settings)
    assert (report.windows, report.trajectories, report.rejected) == ((), 0, {})


def test_a_dry_run_of_an_unscored_window_changes_nothing(
    settings: Settings, connection: Connection
) -> None:
    mixed(connection, WINDOW)
    report = verify_data(settings)
    assert report.windows == (
        WindowData(
            window=WINDOW,
            state=None,
            reason=None,
            trajectories=9,
            agents=5,
            usable=4,
            trainable=4,
            exact=4,
            for_warm_start=5,
            rejected={**REJECTED, "no_logprobs": 1},
            bets_known=0,
            bets_unknown=10,
            models={"SmolLM2-135M-Instruct": 10},
        ),
    )
    assert report.trajectories == report.usable + sum(report.rejected.values()) == 9
    row = connection.execute(
        "SELECT (SELECT count(*) FROM training.scores) + (SELECT count(*) FROM training.windows)"
    ).fetchone()
    assert row == (0,)


def test_a_database_that_was_never_migrated_can_be_looked_at(
    make_settings: Callable[..., Settings], babylon_database_url: str
) -> None:
    settings = make_settings(DATABASE_URL=babylon_database_url)
    with connect(settings) as connection:
        mixed(connection, WINDOW)
        fill_window(connection, OTHER)
        insert_trajectories(connection, [trajectory(None)])
        report = verify_data(settings)
        found = [(w.window, w.state, w.trajectories, w.agents, w.usable) for w in report.windows]
        assert found == [(OTHER, None, 4, 4, 4), (WINDOW, None, 10, 5, 5)]
        assert [w.window for w in verify_data(settings, since=OTHER).windows] == [OTHER]
        row = connection.execute("SELECT to_regnamespace('training')").fetchone()
    assert row == (None,)


def test_calls_of_another_model_are_not_counted_as_trainable(
    settings: Settings, connection: Connection
) -> None:
    other = exact_call(model="another-house/large-model")
    rows = [
        trajectory(agent="agent-1", steps=[step(0, [other]), step(1, [other])]),
        trajectory(agent="agent-2", steps=[step(0, [other]), step(1, [exact_call()], pnl=5.0)]),
    ]
    rows += [trajectory(agent="agent-3", steps=[step(0, [other | {"response": " "}])])]
    insert_trajectories(connection, rows)
    report = verify_data(settings)
    [window] = report.windows
    assert (window.usable, window.rejected) == (1, {"other_policy": 2})
    assert (window.for_warm_start, report.for_warm_start) == (2, 2)
    seal(connection)
    score_window(settings, WINDOW, actor="test")
    assert verify_data(settings).for_warm_start == 3, "whose answers are read with the better part"


def test_calls_of_another_name_of_the_base_model_are_its_own(
    make_settings: Callable[..., Settings], connection: Connection
) -> None:
    steps = [step(number, [exact_call(model="another-house/smol")]) for number in (0, 1)]
    insert_trajectories(connection, [trajectory(steps=steps)])
    settings = make_settings(base_model_aliases="huggingface, another-house/smol")
    report = verify_data(settings)
    assert (report.trainable, report.rejected) == (1, {})
    assert [one.whose for one in report.models] == ["base model"]


def test_calls_without_logprobs_count_where_the_operator_allows_them(
    make_settings: Callable[..., Settings], connection: Connection
) -> None:
    mixed(connection, WINDOW)
    [window] = verify_data(make_settings(logprobs="exact,none")).windows
    assert (window.usable, window.exact) == (5, 4)


def test_a_scored_window_is_reported_as_it_was_scored(
    settings: Settings, connection: Connection
) -> None:
    mixed(connection, WINDOW)
    seal(connection)
    score_window(settings, WINDOW, actor="test")
    connection.execute("UPDATE trajectories SET \"stepsJson\" = '[]'")  # not read again
    late = {"reward_version": 1, "stage": "dataset", "reason": "no_logprobs"}
    bare = connection.execute(
        "SELECT trajectory_id FROM training.scores WHERE agent_id = 'agent-9'"
    ).fetchone()
    assert bare is not None
    row = {"trajectory_id": bare[0], "window_id": WINDOW, **late}
    insert(connection, "training.rejections", [row])
    [window] = verify_data(settings).windows
    assert (window.state, window.usable, window.trainable, window.exact) == ("scored", 4, 4, None)
    assert window.rejected == {**REJECTED, "no_logprobs": 1}


def test_a_held_out_window_is_usable_but_never_trained_on(
    settings: Settings, connection: Connection
) -> None:
    fill_window(connection)
    seal(connection, held_out=True)
    score_window(settings, WINDOW, actor="test")
    [window] = verify_data(settings).windows
    assert (window.state, window.usable, window.trainable) == ("held_out", 4, 0)
    assert window.for_warm_start == 0


def test_an_hour_that_will_be_held_out_is_usable_but_never_trained_on(
    make_settings: Callable[..., Settings], connection: Connection
) -> None:
    fill_window(connection)
    [window] = verify_data(make_settings(held_out_share=0.999)).windows
    assert (window.state, window.usable, window.trainable) == (None, 4, 0)
    assert window.for_warm_start == 0


# --- what planning would take: the same answers, of the same hours


def test_answers_of_what_serves_are_fresh_where_the_backend_cannot_branch_either(
    make_settings: Callable[..., Settings], connection: Connection
) -> None:
    settings = make_settings(backend="local", max_staleness_steps=1, held_out_share=0)
    trainer = PeerTrainer(settings.data_dir, branches=False)
    for number in (1, 2, 3):
        scored_window(connection, hour(number), model=f"babylon@{number - 1}")
        assert train(settings, trainer, hour(number)).action == "committed"
        serving.promote(connection, "babylon", number, reason="r", figures={}, actor="operator")
    fill_window(connection, policy_step=3)

    [window, *_] = verify_data(settings).windows

    assert (window.window, window.usable, window.rejected) == (WINDOW, 4, {})
    seal(connection)
    score_window(settings, WINDOW, actor="test")
    assert train(settings, trainer, WINDOW).action == "committed"


OLD, NEWEST = "2026-01-31T08:00", OTHER


def found(settings: Settings, window: str) -> tuple[int, int, dict[str, int]]:
    report = {one.window: one for one in verify_data(settings).windows}
    return report[window].usable, report[window].trainable, report[window].rejected


def test_an_hour_that_planning_would_close_as_stale_is_not_trainable(
    make_settings: Callable[..., Settings], connection: Connection
) -> None:
    settings = make_settings(max_staleness_hours=1, held_out_share=0)
    for window in (OLD, WINDOW):
        fill_window(connection, window)
    assert found(settings, OLD) == (4, 4, {}), "as long as nothing newer is recorded"
    fill_window(connection, NEWEST)

    assert found(settings, OLD) == (0, 0, {"stale": 4})
    assert found(settings, WINDOW) == (4, 4, {}), "exactly as old as the limit"
    for window in (OLD, WINDOW, NEWEST):
        seal(connection, window)
        score_window(settings, window, actor="test")
    assert found(settings, OLD) == (0, 0, {"stale": 4})
    train(settings, PeerTrainer(settings.data_dir))
    assert found(settings, OLD) == (0, 0, {"stale": 4})
    assert verify_data(settings).windows[-1].state == "skipped"


def test_an_hour_that_has_just_begun_makes_no_other_too_old(
    make_settings: Callable[..., Settings], connection: Connection
) -> None:
    settings = make_settings(max_staleness_hours=1, held_out_share=0)
    fill_window(connection, OLD)
    fill_window(connection, "2999-01-01T00:00")
    assert found(settings, OLD) == (4, 4, {})


def test_what_a_step_took_of_an_hour_stays_trainable_when_its_rest_becomes_too_old(
    make_settings: Callable[..., Settings], connection: Connection
) -> None:
    settings = make_settings(
        max_staleness_hours=1, held_out_share=0, max_group_size=4, step_token_budget=SOME_TOKENS
    )
    scored_window(connection, OLD, rewards=MANY)
    assert train(settings, PeerTrainer(settings.data_dir)).action == "committed"
    used = sum(map(len, taken(connection)))
    assert 0 < used < len(MANY)
    assert found(settings, OLD)[:2] == (len(MANY), len(MANY))
    scored_window(connection, NEWEST)

    assert found(settings, OLD) == (used, used, {"stale": len(MANY) - used})


def test_a_held_out_hour_does_not_become_too_old(
    make_settings: Callable[..., Settings], connection: Connection
) -> None:
    settings = make_settings(max_staleness_hours=1, held_out_share=0.999)
    for window in (OLD, NEWEST):
        fill_window(connection, window)
    assert found(settings, OLD) == (4, 0, {})


def test_an_invalid_window_id_is_reported(settings: Settings, connection: Connection) -> None:
    insert_trajectories(connection, [trajectory(windowId="test-window")])
    report = verify_data(settings)
    assert report.rejected == {"bad_window_id": 1}


def test_rows_without_a_window_are_counted_in_their_hour(
    settings: Settings, connection: Connection
) -> None:
    insert_trajectories(connection, [trajectory(None), trajectory(WINDOW)])
    [window] = verify_data(settings).windows
    assert (window.window, window.trajectories, window.usable) == (WINDOW, 2, 2)


def test_older_windows_can_be_left_out(settings: Settings, connection: Connection) -> None:
    fill_window(connection, WINDOW)
    fill_window(connection, OTHER)
    reported: list[tuple[int, int]] = []
    report = verify_data(settings, on_progress=lambda done, of: reported.append((done, of)))
    assert [window.window for window in report.windows] == [OTHER, WINDOW]
    assert reported == [(1, 2), (2, 2)]
    assert [w.window for w in verify_data(settings, since=OTHER).windows] == [OTHER]
    limited = verify_data(settings, limit=1)
    assert [w.window for w in limited.windows] == [OTHER]
    assert (limited.truncated, report.truncated) == (True, False)
    with pytest.raises(BadWindowId):
        verify_data(settings, since="yesterday")


# --- what is recorded, and what of it is not understood

BASE = "SmolLM2-135M-Instruct"
FOREIGN = "another-house/large-model"


def words(connection: Connection, window: str = WINDOW) -> list[str]:
    """Three agents, of whom one is understood."""
    acts = [
        ("agent-1", action(market="m-1"), {}),
        ("agent-2", action("SHORT_SELL", market="m-1"), {"model": FOREIGN}),
        ("agent-3", action("TRADE", market="m-1", side="buy_maybe"), {"model": "babylon@7"}),
    ]
    rows = [
        trajectory(window, agent, [step(0, [exact_call(**keys)], window=window, action=act)])
        for agent, act, keys in acts
    ]
    return insert_trajectories(connection, rows)


def test_words_and_models_are_counted_whether_or_not_a_window_was_scored_or_used(
    settings: Settings, connection: Connection
) -> None:
    words(connection)
    seal(connection)

    def look() -> DataReport:
        report = verify_data(settings)
        assert report.unknown_actions == {"SHORT_SELL": 1}
        assert report.unknown_sides == {"buy_maybe": 1}
        assert set(report.models) == {
            AskedModel(BASE, 1, "base model"),
            AskedModel(FOREIGN, 1, None),
            AskedModel("babylon@7", 1, "lineage"),
        }
        assert report.windows[0].models == {BASE: 1, FOREIGN: 1, "babylon@7": 1}
        assert (report.bets_known, report.bets_unknown) == (0, 1)
        return report

    assert look().rejected == {"other_policy": 1, "future_policy": 1}
    score_window(settings, WINDOW, actor="test")
    look()
    connection.execute('UPDATE trajectories SET "usedInTraining" = true')
    look()
    connection.execute("TRUNCATE training.windows CASCADE")
    assert look().rejected == {"already_used": 3}


def test_a_window_without_a_single_matched_trade_is_warned_of(
    settings: Settings, connection: Connection
) -> None:
    words(connection)
    fill_window(connection, OTHER)
    insert_outcomes(connection, [market_outcome("m-1", "YES", OTHER)])
    connection.execute("""UPDATE market_outcomes SET "windowId" = '2026-01-31T08:00'""")
    report = verify_data(settings)
    assert report.warnings == (
        f"{OTHER}: none of 8 trades could be matched to an outcome: 8 have no outcome in "
        "market_outcomes",
        f"{WINDOW}: none of 2 trades could be matched to an outcome: 1 have no outcome in "
        "market_outcomes, 1 have an unknown side",
        "1 actions have unknown names: they count as activity, but not as trades, posts or bets",
        "1 trades have an unknown side: they do not count as bets",
    )

    connection.execute(f"""UPDATE market_outcomes SET "windowId" = '{OTHER}'""")  # type: ignore[arg-type]  # noqa: S608
    report = verify_data(settings)
    assert (report.bets_known, report.bets_unknown) == (9, 0)
    assert not [warning for warning in report.warnings if "matched" in warning]


def test_outcomes_that_are_not_understood_are_reported(
    settings: Settings, connection: Connection
) -> None:
    fill_window(connection)
    insert_outcomes(connection, [market_outcome("m-1", "1"), market_outcome("m-2", "maybe")])
    insert_outcomes(connection, [market_outcome("m-1", "1", "2026-01-30T09:00")])
    assert verify_data(settings).unknown_outcomes == {"1": 2, "maybe": 1}
    report = verify_data(settings, since=WINDOW)
    assert report.unknown_outcomes == {"1": 1, "maybe": 1}
    assert "2 outcomes are neither YES nor NO: their markets count as not ended" in (
        report.warnings
    )


def test_a_babylon_without_outcomes_is_warned_of(
    settings: Settings, connection: Connection
) -> None:
    fill_window(connection)
    connection.execute("DROP TABLE market_outcomes")
    report = verify_data(settings)
    assert report.unknown_outcomes == {}
    assert "Babylon has no table market_outcomes: no bet has an outcome" in report.warnings


def test_where_all_is_understood_nothing_is_warned_of(
    settings: Settings, connection: Connection
) -> None:
    fill_window(connection)
    insert_outcomes(connection, [market_outcome("m-1")])
    assert verify_data(settings).warnings == ()
