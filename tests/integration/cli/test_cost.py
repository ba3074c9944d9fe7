"""``cost``: real steps, a judge's report, screens and captured answers, priced."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import Any

import pytest
from captured_calls import captured_call, passed_on_call
from command_line import Run, one_contract
from evaluated_checkpoints import evaluated, held_out_windows, trained
from peer import PeerTrainer
from scored_windows import column, hour, scored_window
from scoring_runs import MakeSettings
from training_steps import crash_before_commit, peer, train

from babylon_tasks.cost.ledger import ledger
from babylon_tasks.cost.records import Prices
from babylon_tasks.db import calls, clock, costs, events, promotions
from babylon_tasks.db.session import Connection
from babylon_tasks.db.sql import statement
from babylon_tasks.decisions import Decision
from babylon_tasks.event_kinds import EventKind

pytestmark = one_contract
SECONDS = """
    SELECT extract(epoch FROM ended.happened_at - begun.happened_at)::float8
    FROM training.events begun JOIN training.events ended USING (step_id)
    WHERE begun.kind = 'step_running' AND ended.kind = %s ORDER BY ended.id
"""

PROMOTED = """
    SELECT decided_at FROM training.promotions WHERE decision = 'promote' ORDER BY decided_at
"""


def graded(connection: Connection, window: str, usd: float | None) -> None:
    detail = {"model": "openai/o3", "prompt_tokens": 4000, "completion_tokens": 100, "usd": usd}
    events.record(connection, EventKind.JUDGED, actor="test", window=window, detail=detail)


@pytest.fixture
def learned(connection: Connection, make_settings: MakeSettings) -> None:
    """Two steps, the first of which is promoted; a judge graded two windows."""
    settings = make_settings(min_eval_groups=3)
    trainer = PeerTrainer(settings.data_dir, values={0: 0.5, 1: 0.7, 2: 0.4})
    held_out_windows(connection)
    for n, action in ((1, "promoted"), (2, "held")):
        graded(connection, hour(n), usd=0.25)
        trained(connection, settings, trainer, n)
        assert evaluated(settings, trainer).action == action


@pytest.mark.usefixtures("learned")
def test_a_run_is_priced_by_kind_step_window_and_promotion(
    run: Run, connection: Connection
) -> None:
    seconds = column(connection, SECONDS, "step_trained")

    found = run("cost", "--json", BABYLON_GPU_HOUR_PRICE="3600").document

    assert len(seconds) == 2
    assert found["total"]["money"] == pytest.approx(sum(seconds) + 0.5)
    assert found["kinds"]["training"]["money"] == pytest.approx(sum(seconds))
    assert found["kinds"]["judge"]["money"] == pytest.approx(0.5)
    assert [(one["step"], one["state"]) for one in found["steps"]] == [
        (1, "committed"),
        (2, "committed"),
    ]
    assert [one["windows"] for one in found["steps"]] == [
        {hour(n): pytest.approx(spent)} for n, spent in enumerate(seconds, 1)
    ]
    assert [(one["window"], one["money"]) for one in found["windows"]] == [
        (hour(n), pytest.approx(spent + 0.25)) for n, spent in enumerate(seconds, 1)
    ]
    first, rest = found["promotions"]
    assert (first["step"], rest["step"]) == (1, None)
    assert first["gain"] == pytest.approx(0.2)
    assert first["for_a_hundredth"] == pytest.approx((seconds[0] + 0.25) / 20)
    assert rest["total"]["money"] == pytest.approx(seconds[1] + 0.25)


@pytest.mark.usefixtures("learned")
def test_since_a_moment_a_promotion_still_costs_all_learning_since_the_one_before(
    connection: Connection,
) -> None:
    promotions.record(
        connection,
        "babylon",
        Decision.PROMOTE,
        from_step=1,
        to_step=2,
        reason="by hand",
        figures={},
        actor="test",
    )
    seconds = column(connection, SECONDS, "step_trained")

    for n, promoted in enumerate(column(connection, PROMOTED)):
        assert isinstance(promoted, datetime)
        records = costs.read(connection, "babylon", since=promoted, answers=False)
        found = ledger(records, Prices(gpu_hour=3600.0))
        assert [(one.step, one.total.money) for one in found.promotions] == [
            (step, pytest.approx(seconds[step - 1] + 0.25)) for step in (1, 2)[n:]
        ]
        assert [one.step for one in found.steps] == [2][n:]


@pytest.mark.usefixtures("learned")
def test_a_gain_is_what_the_gate_decided_by(run: Run, connection: Connection) -> None:
    promotions.record(
        connection,
        "babylon",
        Decision.PROMOTE,
        from_step=1,
        to_step=2,
        reason="the newest hours count more",
        figures={"difference": 0.17, "objective": {"candidate": 0.66, "serving": 0.76}},
        actor="test",
    )

    found = run("cost", "--json").document["promotions"]

    assert [(one["step"], one["gain"]) for one in found[:2]] == [(1, pytest.approx(0.2)), (2, 0.17)]


@pytest.mark.usefixtures("learned")
def test_a_price_that_is_set_later_applies_to_what_was_before(run: Run) -> None:
    before = run("cost", "--json").document["kinds"]["training"]
    words = run("cost").out

    assert before["money"] is None
    assert list(before["lacks"].values()) == [2]
    assert "not in it: 2 runs of steps: BABYLON_GPU_HOUR_PRICE is not set" in words
    after = run("cost", "--json", BABYLON_GPU_HOUR_PRICE="0").document["kinds"]["training"]
    assert (after["money"], after["lacks"]) == (0.0, {})


@pytest.mark.usefixtures("learned")
def test_the_tables_say_it_in_words(run: Run) -> None:
    shown = run("cost", BABYLON_GPU_HOUR_PRICE="3600", BABYLON_RULER_PROMPT_PRICE="2")

    assert shown.code == 0, shown.err
    for one in ("lineage babylon: $", "training", "judge", "committed", hour(2), "step 1",
                "+0.2000", "none since"):  # fmt: skip
        assert one in shown.out
    assert "from 2999-01-01 on: nothing is on record" in run("cost", "--since", "2999-01-01").out


def test_runs_that_broke_off_cost_too_and_one_whose_worker_was_lost_is_not_guessed(
    run: Run, connection: Connection, make_settings: MakeSettings
) -> None:
    settings = make_settings(retry_delay_seconds=0)
    scored_window(connection)
    train(settings, peer(settings, falls="before_writing"))
    train(settings, peer(settings))

    training = run("cost", "--json", BABYLON_GPU_HOUR_PRICE="3600").document["kinds"]["training"]

    assert (training["count"], training["lacks"]) == (2, {})
    [step] = column(connection, "SELECT id FROM training.steps")
    for kind in (EventKind.STEP_RUNNING, EventKind.STEP_TAKEN_OVER, EventKind.STEP_RUNNING):
        events.record(connection, kind, actor="test", lineage="babylon", step_id=int(str(step)))
    again = run("cost", "--json", BABYLON_GPU_HOUR_PRICE="3600").document["kinds"]["training"]
    assert (again["count"], again["money"]) == (3, training["money"])  # the last one runs still
    assert [("worker was lost" in why, n) for why, n in again["lacks"].items()] == [(True, 1)]


def test_an_adopted_step_is_not_paid_for_twice(
    run: Run,
    connection: Connection,
    make_settings: MakeSettings,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    settings = make_settings(retry_delay_seconds=0)
    scored_window(connection)
    crash_before_commit(settings, monkeypatch)
    connection.execute("UPDATE training.lineages SET lease_until = now() - interval '1 second'")
    assert train(settings, peer(settings)).action == "adopted"

    training = run("cost", "--json", BABYLON_GPU_HOUR_PRICE="3600").document["kinds"]["training"]

    assert (training["count"], training["lacks"]) == (1, {})


@pytest.mark.usefixtures("learned")
def test_answers_to_agents_are_priced_where_wandb_serves(run: Run, connection: Connection) -> None:
    asked = clock.now(connection)
    captured = [
        captured_call(asked_at=asked, prompt_tokens=1_000_000, completion_tokens=500_000, ids=[]),
        captured_call(asked_at=asked, prompt_tokens=None, completion_tokens=None, ids=[]),
        passed_on_call(asked_at=asked, prompt_tokens=9),
        captured_call(asked_at=asked, lineage="another", prompt_tokens=9),
    ]
    assert calls.insert(connection, captured, kept_hours=24).refused == 0
    prices = {"BABYLON_WANDB_PROMPT_PRICE": "2", "BABYLON_WANDB_COMPLETION_PRICE": "4"}

    own: dict[str, Any] = run("cost", "--json", **prices).document["kinds"]["answers"]
    connection.execute("UPDATE training.lineages SET backend = 'serverless'")
    theirs = run("cost", "--json", **prices).document["kinds"]["answers"]

    assert (own["money"], list(own["lacks"].values())) == (None, [2])
    assert theirs["money"] == pytest.approx(4.0)
    assert list(theirs["lacks"].values()) == [1, 1]


@pytest.mark.usefixtures("learned")
def test_a_budget_is_seen_in_status_doctor_and_why(run: Run, connection: Connection) -> None:
    budget = {"BABYLON_BUDGET": "0.6", "BABYLON_GPU_HOUR_PRICE": "0"}
    scored_window(connection, hour(3))

    unbounded = run("status", "--json").document["budget"]
    below = run("status", **budget).out
    graded(connection, hour(3), usd=0.2)
    shown = run("status", **budget).out
    found = run("status", "--json", **budget).document["budget"]
    checked = {one["check"]: one for one in run("doctor", "--json", **budget).document["findings"]}

    assert unbounded is None
    assert "budget: $0.50 of $0.60 is spent on learning in the last 24 hours" in below
    assert "no step is planned" not in below
    assert "budget: $0.70 of $0.60" in shown
    assert "no step is planned until" in shown
    assert found["until"] is not None
    assert found["spent"]["money"] == pytest.approx(0.7)
    assert checked["budget"]["outcome"] == "warn"
    assert "goes on by itself" in checked["budget"]["todo"]
    assert "the budget is spent: $0.70" in run("why", hour(3), **budget).out
    trained_by_hand = run("train", hour(3), **budget, BABYLON_BACKEND="cpu")
    assert "the budget is spent" in trained_by_hand.out + trained_by_hand.err


def test_what_a_budget_asks_for_reads_no_table_from_end_to_end(connection: Connection) -> None:
    connection.execute(
        "INSERT INTO training.events (kind, actor, happened_at) SELECT 'opened', 'test',"
        " now() - n * interval '1 minute' FROM generate_series(1, 20000) AS n"
    )
    connection.execute("ANALYZE training.events")
    for name in ("costs.runs", "costs.gradings", "costs.noted_as_spent"):
        found = connection.execute(
            "EXPLAIN (COSTS off) " + statement(name),  # type: ignore[arg-type]
            {"lineage": "babylon", "since": datetime(2026, 1, 1, tzinfo=UTC)},
        ).fetchall()
        text = "\n".join(row[0] for row in found)
        assert "Seq Scan on events" not in text, text
    assert costs.read(connection, "babylon", since=None).runs == []
