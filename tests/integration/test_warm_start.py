"""A supervised step is planned from what others answered, and is a step like any other."""

from __future__ import annotations

from collections.abc import Callable
from datetime import UTC, datetime
from typing import Any

import pytest
from factories import WINDOW, exact_call, llm_call
from peer import PeerTrainer
from scored_windows import column, hour, scored_window
from training_steps import expire, kinds, peer, state, train, warm

from babylon_tasks.db import lineages
from babylon_tasks.db.invariants import violations
from babylon_tasks.db.session import Connection
from babylon_tasks.pipeline.replay import replay
from babylon_tasks.registry import serving
from babylon_tasks.settings import Settings
from babylon_tasks.training.groups_file import read_groups

FOREIGN = "gpt-4.1"
EIGHT = (0.1, 0.9, 0.3, 0.8, 0.2, 0.7, 0.0, 0.6)


@pytest.fixture
def settings(make_settings: Callable[..., Settings]) -> Settings:
    return make_settings(retry_delay_seconds=0, backend="cpu")


def foreign_window(connection: Connection, window: str = WINDOW, **how: Any) -> list[str]:
    """Eight answers of another model, without log-probabilities."""
    calls = how.pop("calls", [llm_call("YES", model=FOREIGN)])
    return scored_window(connection, window, EIGHT, calls=calls, **how)


def trained(connection: Connection) -> list[object]:
    return column(connection, "SELECT trajectory_id FROM training.consumption ORDER BY 1")


def test_the_better_part_of_another_models_answers_becomes_one_committed_step(
    connection: Connection, settings: Settings
) -> None:
    ids = foreign_window(connection)
    better = [ids[1], ids[3]]

    planned = warm(settings)
    trainer = peer(settings)
    read: list[Any] = []
    trainer.during = lambda: read.extend(read_groups(trainer.requests[0].groups_path))
    ended = train(settings, trainer)

    assert (planned.step, planned.calls, planned.models) == (1, 2, {FOREIGN: 2})
    assert planned.left_out == {"not_better": 6}
    assert (ended.action, ended.step, ended.windows) == ("committed", 1, [WINDOW])
    [request] = trainer.requests
    assert request.supervised is not None
    assert (request.learning_rate, request.kl_coefficient) == (2e-3, 0.0)
    [group] = read
    assert sorted(one.trajectory_id for one in group.members) == sorted(better)
    assert trained(connection) == sorted(better)
    assert column(connection, "SELECT method FROM training.steps") == ["supervised"]
    assert state(connection) == "scored"  # the rest is left over
    assert violations(connection, settings) == []
    events = kinds(connection)
    assert events[events.index("step_planned") :][:3] == [
        "step_planned",
        "step_taken_over",
        "step_running",
    ]


def test_the_manifest_lists_how_it_learns_which_rows_and_their_hashes(
    connection: Connection, make_settings: Callable[..., Settings]
) -> None:
    foreign_window(connection)

    warm(
        make_settings(
            backend="cpu",
            supervised_epochs=3,
            supervised_calls_per_gradient_step=2,
            supervised_learning_rate=1e-4,
            supervised_warmup_gradient_steps=7,
            seed=5,
        )
    )

    [manifest] = column(connection, "SELECT manifest FROM training.steps")
    assert isinstance(manifest, dict)
    assert manifest["supervised"] == {
        "epochs": 3,
        "calls_per_gradient_step": 2,
        "warmup_gradient_steps": 7,
        "top_share": 0.25,
        "decision_weight": 4.0,
    }
    assert (manifest["config"]["learning_rate"], manifest["config"]["seed"]) == (1e-4, 5)
    [group] = manifest["groups"]
    assert [len(one["content"]) for one in group["members"]] == [64, 64]


def test_nothing_is_used_twice(connection: Connection, settings: Settings) -> None:
    """Neither by two supervised steps, nor by one of each kind."""
    ids = foreign_window(connection)
    warm(settings)
    train(settings, peer(settings))

    again = warm(settings)
    by_grpo = train(settings, peer(settings), WINDOW)

    assert (again.step, again.calls, again.left_out) == (None, 0, {"not_better": 6, "used": 2})
    assert by_grpo.action == "skipped"
    assert trained(connection) == sorted([ids[1], ids[3]])
    assert state(connection) == "trained"


def test_what_grpo_has_learned_from_is_left_out(connection: Connection, settings: Settings) -> None:
    """The rest of its hour, whose answers were stale for GRPO, was compared with it."""
    scored_window(connection, WINDOW, EIGHT)  # the lineage's own
    train(settings, peer(settings), WINDOW)
    foreign_window(connection, key="another")
    connection.execute("UPDATE training.windows SET state = 'scored'")

    found = warm(settings, dry_run=True)

    assert found.models == {FOREIGN: 2}
    assert found.left_out == {"not_better": 12, "used": 2}


def test_an_hour_that_grpo_has_skipped_for_its_model_is_learned_from(
    connection: Connection, settings: Settings
) -> None:
    """As of an existing database: the worker was there first."""
    foreign_window(connection)
    refused = train(settings, peer(settings), WINDOW)
    assert (refused.action, state(connection)) == ("skipped", "skipped")

    warm(settings)
    assert state(connection) == "training"
    assert violations(connection, settings) == []
    ended = train(settings, peer(settings))

    assert ended.action == "committed"
    assert state(connection) == "trained"
    assert "reopened" in kinds(connection)
    assert violations(connection, settings) == []


def test_after_a_failed_step_a_skipped_hour_is_closed_again_and_its_rows_are_free(
    connection: Connection, settings: Settings
) -> None:
    foreign_window(connection)
    train(settings, peer(settings), WINDOW)
    warm(settings)

    failed = train(settings, peer(settings, falls="refuses"))
    closed = train(settings, peer(settings))

    assert (failed.action, closed.action) == ("failed", "skipped")
    assert trained(connection) == []
    assert state(connection) == "skipped"
    assert violations(connection, settings) == []
    assert warm(settings).step == 1


@pytest.mark.parametrize("own", ["state = 'held_out', held_out = true", "rescore = 'outcomes'"])
def test_held_out_hours_and_those_to_be_scored_anew_are_not_learned_from(
    connection: Connection, settings: Settings, own: str
) -> None:
    foreign_window(connection)
    connection.execute(f"UPDATE training.windows SET {own}")  # type: ignore[arg-type]  # noqa: S608

    assert warm(settings).calls == 0


def test_an_hour_that_waits_for_outcomes_is_not_learned_from(
    connection: Connection, settings: Settings
) -> None:
    foreign_window(connection)
    connection.execute("UPDATE training.windows SET waits_until = now() + interval '1 hour'")

    assert warm(settings).calls == 0


def test_a_dry_run_reports_the_same_and_writes_nothing(
    connection: Connection, settings: Settings
) -> None:
    foreign_window(connection, hour(1))
    foreign_window(connection, hour(2), calls=[llm_call("NO", model="llama")])
    connection.execute("UPDATE training.windows SET state = 'skipped', reason = 'other_policy'")

    dry = warm(settings, dry_run=True)
    written = [
        column(connection, f"SELECT count(*) FROM training.{table}")  # noqa: S608
        for table in ("lineages", "steps", "consumption", "rejections", "events")
    ]
    planned = warm(settings)

    assert written == [[0]] * 5
    assert dry.step is None
    assert (dry.models, dry.left_out) == (planned.models, planned.left_out)
    assert dry.models == {FOREIGN: 2, "llama": 2}
    assert dry.windows == planned.windows == [hour(1), hour(2)]


def test_the_newest_hours_come_first_up_to_the_limit_and_since_bounds_them(
    connection: Connection, make_settings: Callable[..., Settings]
) -> None:
    settings = make_settings(backend="cpu", supervised_calls=3)
    for number in (1, 2, 3):
        foreign_window(connection, hour(number))
    since = datetime(2026, 1, 31, 3, tzinfo=UTC)

    bounded = warm(settings, dry_run=True, since=since)
    limited = warm(settings, dry_run=True)

    assert (bounded.windows, bounded.calls, bounded.more) == ([hour(3)], 2, False)
    assert (limited.windows, limited.calls, limited.more) == ([hour(2), hour(3)], 3, True)


@pytest.mark.parametrize(
    ("call", "why"),
    [
        ({"response": " "}, "no_answer"),
        ({"finishReason": "length"}, "cut_off"),
        ({"userPrompt": "word " * 9000}, "too_long"),
    ],
)
def test_a_call_that_nobody_should_learn_from_is_left_out_and_the_others_are_not(
    connection: Connection, settings: Settings, call: dict[str, Any], why: str
) -> None:
    good = llm_call("YES", model=FOREIGN)
    foreign_window(connection, calls=[good | call, good])

    found = warm(settings)

    assert found.calls == 2
    assert found.left_out == {"not_better": 6, why: 2}
    named = found.too_long if why == "too_long" else trained(connection)
    assert sorted(named) == trained(connection)
    assert bool(found.too_long) is (why == "too_long")
    [manifest] = column(connection, "SELECT manifest FROM training.steps")
    assert isinstance(manifest, dict)
    assert [one["calls"] for one in manifest["groups"][0]["members"]] == [[1], [1]]


def test_rows_that_were_rewritten_or_deleted_since_their_score_are_left_out(
    connection: Connection, settings: Settings
) -> None:
    ids = foreign_window(connection)
    rewritten = """UPDATE trajectories SET "stepsJson" = replace("stepsJson", 'YES', 'NO')"""
    connection.execute(rewritten + """ WHERE "trajectoryId" = %s""", [ids[1]])
    connection.execute("""DELETE FROM trajectories WHERE "trajectoryId" = %s""", [ids[3]])

    assert warm(settings).left_out == {"not_better": 6, "changed": 1, "deleted": 1}


def test_a_group_without_spread_has_no_better_part(
    connection: Connection, settings: Settings
) -> None:
    scored_window(connection, WINDOW, (0.5,) * 4)

    found = warm(settings)

    assert (found.step, found.left_out) == (None, {"no_spread": 4})


def test_while_another_step_is_unfinished_none_is_planned(
    connection: Connection, settings: Settings
) -> None:
    foreign_window(connection, hour(1))
    foreign_window(connection, hour(2))
    warm(settings, since=datetime(2026, 1, 31, 2, tzinfo=UTC))

    refused = warm(settings)

    assert refused.step is None
    assert "babylon@1 is planned" in str(refused.refused)
    assert "run the command again when that step has ended" in str(refused.refused)
    assert column(connection, "SELECT count(*) FROM training.steps") == [1]


def test_while_a_worker_trains_the_lineage_none_is_planned(
    connection: Connection, settings: Settings
) -> None:
    foreign_window(connection)
    lineages.ensure(connection, settings)
    assert lineages.claim(connection, "babylon", "worker", 30)

    refused = warm(settings)
    expire(connection)

    assert "a worker is training or evaluating lineage babylon" in str(refused.refused)
    assert warm(settings).step == 1


def test_it_starts_from_what_serves(connection: Connection, settings: Settings) -> None:
    scored_window(connection, hour(1))
    train(settings, peer(settings), hour(1))  # nothing promotes it
    foreign_window(connection, hour(2))

    warm(settings)
    trainer = peer(settings)
    train(settings, trainer)

    assert (trainer.requests[0].base_step, trainer.requests[0].parent_step) == (1, 0)


def test_where_the_backend_cannot_branch_it_waits_for_a_decision_and_has_its_rate(
    connection: Connection, settings: Settings
) -> None:
    def remote() -> PeerTrainer:
        return peer(settings, remote=True, branches=False)

    scored_window(connection, hour(1))
    train(settings, remote(), hour(1))
    foreign_window(connection, hour(2))
    assert "babylon@1 neither serves nor is refused" in str(warm(settings).refused)
    serving.refuse(connection, "babylon", 1, reason="r", actor="operator")

    assert warm(settings).refused is None
    trainer = remote()
    train(settings, trainer)

    assert trainer.discarded == [(0, (1,))]
    assert (trainer.requests[0].base_step, trainer.requests[0].parent_step) == (0, 0)
    assert trainer.requests[0].learning_rate == 5e-5
    assert column(connection, "SELECT max(target_step) FROM training.steps") == [2]


def test_a_step_that_was_planned_is_given_to_the_next_message(
    connection: Connection, settings: Settings
) -> None:
    from babylon_tasks.pipeline.reconcile import reconcile

    foreign_window(connection)
    warm(settings)

    assert reconcile(settings, actor="test").to_train == [WINDOW]


def test_what_it_learned_from_is_kept_and_equal_to_the_rows(
    connection: Connection, settings: Settings
) -> None:
    ids = foreign_window(connection)
    warm(settings)
    train(settings, peer(settings))

    def look() -> list[tuple[str, str]]:
        found = replay(settings, 1, train=False, back=0, on_progress=lambda _: None)
        return [(one.trajectory_id, str(one.kind)) for one in found.differences]

    assert look() == []
    assert column(connection, "SELECT count(*) FROM training.step_members") == [2]
    rewritten = """UPDATE trajectories SET "stepsJson" = replace("stepsJson", 'YES', 'NO')"""
    connection.execute(rewritten + """ WHERE "trajectoryId" = %s""", [ids[1]])
    assert look() == [(ids[1], "text")]


def test_grpo_goes_on_refusing_other_models(connection: Connection, settings: Settings) -> None:
    calls = [exact_call("YES", model=FOREIGN)]
    foreign_window(connection, calls=calls)

    train(settings, peer(settings), WINDOW)

    reasons = column(connection, "SELECT DISTINCT reason FROM training.rejections")
    assert reasons == ["other_policy"]
