"""What trips before a step: kept from training or trained on, on record, and let through."""

from __future__ import annotations

from typing import Any

import psycopg
import pytest
from factories import WINDOW, exact_call
from peer import PeerTrainer
from planned_steps import Make, state, taken, train
from scored_windows import column, hour, scored_window
from training_steps import warm

from babylon_tasks.db import due_windows, gauges, reports, tripwires, windows
from babylon_tasks.db.session import Connection
from babylon_tasks.pipeline.train import train_window
from babylon_tasks.settings import Settings

pytestmark = pytest.mark.contract("today")
EIGHT = tuple(number / 8 for number in range(8))  # of which a supervised step takes two
LEAK = 'Notes: {"futureOutcomes": {"m-1": "YES"}}. Will ACME close higher? Answer YES or NO.'


def leaking_window(connection: Connection, window: str = WINDOW, **more: Any) -> list[str]:
    """Four trajectories whose prompts say how their market ends."""
    model = more.pop("model", "babylon@0")
    return scored_window(
        connection, window, calls=[exact_call(userPrompt=LEAK, model=model)], **more
    )


@pytest.fixture
def settings(make_settings: Make) -> Settings:
    """The factories' agents all say YES, which is improbable in their small random model."""
    return make_settings(tripwires="duplicates=off")


def kinds(connection: Connection, window: str = WINDOW) -> list[str]:
    query = "SELECT kind FROM training.events WHERE window_id = %s ORDER BY id"
    return [str(kind) for kind in column(connection, query, window)]


def test_a_window_whose_prompts_give_outcomes_away_is_not_trained_on(
    connection: Connection, settings: Settings
) -> None:
    leaking_window(connection)

    outcome = train(settings)

    assert (outcome.action, outcome.skipped) == ("skipped", {WINDOW: "tripped: outcome_words"})
    assert state(connection) == ("scored", None)
    row = windows.get(connection, WINDOW, lineage="babylon")
    assert (row.tripped, row.due, row.training_attempts) == (True, False, 0)
    assert row.why_idle is not None
    assert "babylon-tasks tripwires accept" in row.why_idle
    assert column(connection, "SELECT count(*) FROM training.steps") == [0]
    assert column(connection, "SELECT count(*) FROM training.consumption") == [0]
    (found,) = tripwires.still_open(connection, "babylon", limit=10)
    assert (found.window, found.kind, found.policy) == (WINDOW, "outcome_words", "hold")
    assert (found.step, found.target_step, found.open) == (None, 1, True)
    assert found.evidence["words"] == {"futureOutcomes": 4}
    assert (found.measured, found.bound) == (1.0, 0.05)
    assert "tripped" in kinds(connection)


def test_it_is_found_once_and_nobody_is_sent_for_it(
    connection: Connection, settings: Settings
) -> None:
    leaking_window(connection)
    train(settings)

    assert train(settings).action == "idle"
    assert train(settings, window=WINDOW).action == "busy"
    assert due_windows.pick_to_train(connection, settings, limit=10) == []
    assert len(tripwires.listed(connection, "babylon", limit=10)) == 1
    assert tripwires.tripped_windows(connection, "babylon") == 1
    assert gauges.read(connection, "babylon", 60).oldest_due == 0.0
    assert reports.system_state(connection, "babylon").oldest_due is None


def test_other_windows_are_trained_on_meanwhile(connection: Connection, settings: Settings) -> None:
    leaking_window(connection, hour(1))
    honest = scored_window(connection, hour(2))

    outcome = train(settings)

    assert (outcome.action, outcome.windows) == ("committed", [hour(2)])
    assert sorted(one for group in taken(connection) for one in group) == sorted(honest)
    assert state(connection, hour(1)) == ("scored", None)


def test_what_somebody_accepts_is_trained_on_and_their_name_is_on_record(
    connection: Connection, settings: Settings
) -> None:
    ids = leaking_window(connection)
    train(settings)

    assert tripwires.accept(connection, "babylon", WINDOW, actor="cli:mo") == ["outcome_words"]
    assert tripwires.accept(connection, "babylon", WINDOW, actor="cli:jo") == []
    assert train(settings).action == "committed"

    assert sorted(one for group in taken(connection) for one in group) == sorted(ids)
    first, second = tripwires.of_window(connection, WINDOW)
    assert (first.policy, first.accepted_by, first.open) == ("hold", "cli:mo", False)
    assert first.accepted_at is not None
    assert (second.policy, second.step, second.accepted_by) == ("warn", 1, None)
    assert [kind for kind in kinds(connection) if "trip" in kind] == [
        "tripped",
        "tripwires_accepted",
        "tripped",
    ]


def test_rewards_that_are_made_anew_are_examined_anew(
    connection: Connection, settings: Settings
) -> None:
    leaking_window(connection)
    train(settings)
    connection.execute("UPDATE training.windows SET reward_version = 2")
    connection.execute("UPDATE training.scores SET reward_version = 2")

    assert not windows.get(connection, WINDOW, lineage="babylon").tripped
    assert train(settings).action == "skipped"
    assert [one.reward_version for one in tripwires.of_window(connection, WINDOW)] == [1, 2]
    assert [one.open for one in tripwires.of_window(connection, WINDOW)] == [False, True]


def test_a_lineage_is_kept_from_what_tripped_for_it_alone(
    connection: Connection, make_settings: Make
) -> None:
    leaking_window(connection)
    train(make_settings())

    assert not windows.get(connection, WINDOW, lineage="other").tripped
    scored = due_windows.scored(connection, 1, lineage="other")
    assert [one.window for one in scored] == [WINDOW]
    assert windows.get(connection, WINDOW, lineage="babylon").tripped
    assert due_windows.scored(connection, 1, lineage="babylon") == []


@pytest.mark.parametrize(("policy", "rows"), [("warn", 1), ("off", 0)])
def test_a_wire_that_only_warns_or_is_off_lets_the_window_through(
    connection: Connection, make_settings: Make, policy: str, rows: int
) -> None:
    leaking_window(connection)

    assert train(make_settings(tripwires=f"outcome_words={policy}")).action == "committed"

    found = [one for one in tripwires.of_window(connection, WINDOW) if one.kind == "outcome_words"]
    assert [(one.policy, one.step, one.open) for one in found] == [("warn", 1, False)] * rows


def test_what_a_step_took_is_kept_in_figures_and_an_import_of_it_is_noticed(
    connection: Connection, settings: Settings
) -> None:
    calls = [exact_call(userPrompt=f"Balance {n}. Will ACME rise?") for n in range(3)]
    rewards = [n / 16 for n in range(16)]
    for number in (1, 2):
        scored_window(connection, hour(number), rewards, calls=calls)
        trainer = PeerTrainer(settings.data_dir)
        train_window(settings, trainer, window=hour(number), actor="test")

    (figures,) = tripwires.figures(connection, "babylon", hour(2), limit=24)

    assert sum(figures["bins"]) == 16
    assert figures["scorer"] == "default 1"
    assert column(connection, "SELECT count(*) FROM training.window_figures") == [2]


def test_a_trip_needs_a_policy_that_is_known_and_an_acceptance_something_to_accept(
    connection: Connection, settings: Settings
) -> None:
    leaking_window(connection)
    train(settings)
    with pytest.raises(psycopg.errors.CheckViolation):
        connection.execute(
            "INSERT INTO training.tripwires (lineage, window_id, reward_version, target_step, kind,"
            " policy, what, measured, bound, source, evidence, actor) SELECT lineage, window_id,"
            " reward_version, target_step, kind, 'off', what, measured, bound, source, evidence,"
            " actor FROM training.tripwires"
        )
    with pytest.raises(psycopg.errors.RaiseException, match="only added"):
        connection.execute("UPDATE training.tripwires SET policy = 'warn'")
    with pytest.raises(psycopg.errors.ForeignKeyViolation):
        connection.execute(
            "INSERT INTO training.accepted_tripwires (tripwire_id, actor) VALUES (0, 'x')"
        )


def test_a_tripped_window_that_grows_too_old_is_closed_like_any_other(
    connection: Connection, make_settings: Make
) -> None:
    leaking_window(connection, hour(1))
    train(make_settings())
    scored_window(connection, hour(9))

    train(make_settings(max_staleness_hours=2))

    assert state(connection, hour(1)) == ("skipped", "stale")
    assert tripwires.still_open(connection, "babylon", limit=10) == []


def test_a_supervised_step_takes_no_answers_to_prompts_that_give_outcomes_away(
    connection: Connection, make_settings: Make
) -> None:
    settings = make_settings(backend="cpu")
    leaking_window(connection, hour(1), rewards=EIGHT)
    honest = scored_window(connection, hour(2))

    assert warm(settings, dry_run=True).left_out["tripped"] == 2
    assert column(connection, "SELECT count(*) FROM training.tripwires") == [0]
    planned = warm(settings)

    assert (planned.step, planned.windows, planned.left_out["tripped"]) == (1, [hour(2)], 2)
    assert column(connection, "SELECT trajectory_id FROM training.consumption") == [honest[3]]
    (found,) = tripwires.still_open(connection, "babylon", limit=10)
    assert (found.window, found.kind, found.step) == (hour(1), "outcome_words", None)
    assert column(connection, "SELECT count(*) FROM training.window_figures") == [0]


def test_a_skipped_window_that_trips_a_supervised_step_is_let_through_too(
    connection: Connection, make_settings: Make
) -> None:
    settings = make_settings(backend="cpu")
    leaking_window(connection, model="gpt-4.1", rewards=EIGHT)
    assert train(settings).skipped == {WINDOW: "other_policy"}

    assert warm(settings).step is None
    assert [one.open for one in tripwires.still_open(connection, "babylon", limit=9)] == [True]
    assert warm(settings).left_out == {}
    assert tripwires.accept(connection, "babylon", WINDOW, actor="mo") == ["outcome_words"]

    assert warm(settings).step == 1
