"""Exactly one training step per window: who claims, runs, is interrupted and commits."""

from __future__ import annotations

import json
import threading
from collections.abc import Callable
from pathlib import Path
from typing import Any

import msgspec
import pytest
from factories import WINDOW, insert, llm_call
from peer import PeerTrainer
from psycopg.errors import CheckViolation
from scored_windows import column, hour, scored_window

from babylon_tasks.db import consumption, lineages, steps, windows
from babylon_tasks.db.commit_step import commit_step
from babylon_tasks.db.consumption import Use
from babylon_tasks.db.fail_step import fail_step
from babylon_tasks.db.session import Connection
from babylon_tasks.errors import DatabaseError, StaleLease, TrainingError
from babylon_tasks.pipeline import train as pipeline
from babylon_tasks.pipeline.train import TrainOutcome, train_window
from babylon_tasks.records import StepResult
from babylon_tasks.settings import Settings
from babylon_tasks.states import POSTPONE, RESTART, START, TAKE_OVER, VERIFY, StepState

RESULT = StepResult(1, 3, 12, "new", "old", "file:///1", "babylon@1", "hash", {"loss/train": 0.5})


@pytest.fixture
def settings(make_settings: Callable[..., Settings]) -> Settings:
    return make_settings(retry_delay_seconds=0, max_attempts=3, lease_seconds=30)


def train(settings: Settings, trainer: PeerTrainer, window: str | None = None) -> TrainOutcome:
    return train_window(settings, trainer, window=window, actor="test")


def peer(settings: Settings, **how: Any) -> PeerTrainer:
    return PeerTrainer(settings.data_dir, **how)


def kinds(connection: Connection) -> list[object]:
    return column(connection, "SELECT kind FROM training.events ORDER BY id")


def state(connection: Connection, window: str = WINDOW) -> str:
    return windows.get(connection, window).state


def planned_step(connection: Connection, settings: Settings, owner: str = "one") -> Any:
    """A claim and a planned step on one scored window."""
    ids = scored_window(connection)
    lineages.ensure(connection, settings)
    lease = lineages.claim(connection, "babylon", owner, 30)
    assert lease is not None
    step = steps.plan(
        connection,
        lease,
        backend="cpu",
        windows={WINDOW: 1},
        manifest=b'{"a": 1}',
        manifest_hash="hash",
        uses=[Use(one, 1, WINDOW, "trained") for one in ids],
        actor="test",
    )
    return lease, step, ids


def verified(connection: Connection, lease: lineages.Lease, step: steps.Step) -> steps.Step:
    """The step with its result stored, one transition before its commit."""
    columns = msgspec.structs.asdict(RESULT)
    return steps.advance(connection, lease, step, VERIFY, actor="test", columns=columns)


def crash_before_commit(settings: Settings, monkeypatch: pytest.MonkeyPatch) -> None:
    """A worker that ends between its last but one statement and the commit."""

    def end(*_: Any, **__: Any) -> None:
        raise SystemExit(1)

    with monkeypatch.context() as patch:
        patch.setattr(pipeline, "commit_step", end)
        with pytest.raises(SystemExit):
            train(settings, peer(settings), WINDOW)


def expire(connection: Connection) -> None:
    connection.execute("UPDATE training.lineages SET lease_until = now() - interval '1 second'")


# --- the straight way


def test_a_scored_window_becomes_one_committed_step(
    connection: Connection, settings: Settings
) -> None:
    ids = scored_window(connection)

    outcome = train(settings, peer(settings), WINDOW)

    assert (outcome.action, outcome.windows, outcome.step) == ("committed", [WINDOW], 1)
    assert outcome.result is not None
    assert (outcome.result.gradient_steps, outcome.result.trainable_tokens) == (1, 12)
    assert state(connection) == "trained"
    lineage = lineages.get(connection, "babylon")
    assert lineage is not None
    assert (lineage.head_step, lineage.serving_step, lineage.leased) == (1, 0, False)
    assert lineage.inference_base_url == "http://127.0.0.1:8100/v1"
    used = column(
        connection, "SELECT trajectory_id FROM training.consumption WHERE use = 'trained'"
    )
    assert sorted(map(str, used)) == sorted(ids)
    assert column(connection, "SELECT step FROM training.checkpoints ORDER BY step") == [0, 1]
    assert kinds(connection) == [
        "grouped",
        "step_planned",
        "step_running",
        "step_trained",
        "trained",
        "step_committed",
    ]


def test_a_second_message_for_the_same_window_changes_nothing(
    connection: Connection, settings: Settings
) -> None:
    scored_window(connection)
    train(settings, peer(settings), WINDOW)

    again = train(settings, peer(settings), WINDOW)

    assert (again.action, again.step) == ("skipped", 1)
    assert again.reason == f"window {WINDOW} is trained"
    assert column(connection, "SELECT count(*) FROM training.steps") == [1]


def test_babylon_finds_the_step_in_its_own_tables(
    connection: Connection, settings: Settings
) -> None:
    ids = scored_window(connection)

    train(settings, peer(settings))

    marks = connection.execute(
        'SELECT DISTINCT "usedInTraining", "trainedInBatch", "updatedAt" > "createdAt"'
        " FROM trajectories"
    ).fetchall()
    assert marks == [(True, "babylon@1", True)]
    batch = connection.execute(
        'SELECT id, "batchId", "scenarioId", "baseModel", "modelVersion", "trajectoryIds",'
        ' "rewardsJson", "trainingLoss", status, "startedAt" <= "completedAt"'
        " FROM training_batches"
    ).fetchone()
    assert batch is not None
    assert batch[:5] == ("babylon@1", "babylon@1", WINDOW, settings.base_model, "v1.0.1")
    assert sorted(json.loads(batch[5])) == sorted(ids)
    assert sorted(json.loads(batch[6])) == [0.0, 0.25, 0.75, 1.0]
    assert batch[7:] == (0.5, "completed", True)
    model = connection.execute(
        'SELECT id, "modelId", "baseModel", "trainingBatch", status, "avgReward", "storagePath"'
        " FROM trained_models WHERE \"modelId\" = 'babylon@1'"
    ).fetchone()
    base = settings.base_model
    assert model == ("babylon@1", "babylon@1", base, "babylon@1", "training", 0.5, "babylon@1")


def test_a_backlog_is_trained_in_one_step_up_to_the_limit_oldest_first(
    connection: Connection, make_settings: Callable[..., Settings]
) -> None:
    settings = make_settings(max_windows_per_step=2)
    for number in (3, 1, 2):
        scored_window(connection, hour(number))

    first, second, third = (train(settings, peer(settings)) for _ in range(3))

    assert first.windows == [hour(1), hour(2)]
    assert second.windows == [hour(3)]
    assert third.action == "idle"


def test_the_token_budget_ends_a_step_but_never_cuts_a_window(
    connection: Connection, make_settings: Callable[..., Settings]
) -> None:
    settings = make_settings(max_windows_per_step=4, step_token_budget=1)
    scored_window(connection, hour(1))
    scored_window(connection, hour(2))

    assert train(settings, peer(settings)).windows == [hour(1)]


def test_the_learning_rate_and_the_manifest_reach_the_trainer(
    connection: Connection, settings: Settings
) -> None:
    trainer = peer(settings)
    for number in (1, 2):
        scored_window(connection, hour(number))
        train(settings, trainer, hour(number))

    rates = [request.learning_rate for request in trainer.requests]
    assert rates == [settings.learning_rate] * 2  # nothing was promoted: both begin at the base
    hashes = column(connection, "SELECT manifest_hash FROM training.steps ORDER BY id")
    assert [request.manifest_hash for request in trainer.requests] == hashes
    assert len(set(hashes)) == 2


def test_dead_branches_make_neither_the_data_nor_the_learning_rate_older(
    connection: Connection, make_settings: Callable[..., Settings]
) -> None:
    settings = make_settings(max_staleness_steps=1, retry_delay_seconds=0)
    trainer = peer(settings)
    for number in range(5):  # all but the first are held: they serve nobody
        scored_window(connection, hour(number), model=f"babylon@{min(number, 1)}")
        assert train(settings, trainer, hour(number)).action == "committed"
        connection.execute("UPDATE training.lineages SET serving_step = 1")
    scored_window(connection, hour(5), model="babylon@0")

    assert train(settings, trainer, hour(5)).action == "committed"
    rates = [request.learning_rate for request in trainer.requests]
    assert rates[0] > rates[1]
    assert set(rates[1:]) == {rates[1]}


# --- nothing to learn


def test_equal_rewards_commit_no_step_and_the_window_says_why(
    connection: Connection, settings: Settings
) -> None:
    ids = scored_window(connection, rewards=(0.5, 0.5, 0.5))
    trainer = peer(settings)

    outcome = train(settings, trainer, WINDOW)

    assert (outcome.action, outcome.reason) == ("skipped", f"{WINDOW}: no_spread")
    row = windows.get(connection, WINDOW)
    assert (row.state, row.reason) == ("skipped", "no_spread")
    assert trainer.requests == []
    assert column(connection, "SELECT count(*) FROM training.steps") == [0]
    uses = connection.execute("SELECT use, count(*) FROM training.consumption GROUP BY use")
    assert uses.fetchall() == [("no_spread", len(ids))]


@pytest.mark.parametrize(
    ("recorded", "reason"),
    [
        ({"model": "qwen/qwen3-32b"}, "other_policy"),
        ({"model": "babylon@9"}, "future_policy"),
        ({"calls": [llm_call(model="babylon@0")]}, "no_logprobs"),
    ],
)
def test_a_window_without_a_usable_call_is_skipped_and_each_trajectory_has_its_reason(
    connection: Connection, settings: Settings, recorded: dict[str, Any], reason: str
) -> None:
    ids = scored_window(connection, **recorded)

    outcome = train(settings, peer(settings), WINDOW)

    assert outcome.reason == f"{WINDOW}: {reason}"
    rows = connection.execute("SELECT trajectory_id, stage, reason FROM training.rejections")
    assert sorted(rows.fetchall()) == sorted((one, "dataset", reason) for one in ids)


def test_the_operator_may_train_without_logprobs_and_the_step_is_labelled_so(
    connection: Connection, make_settings: Callable[..., Settings]
) -> None:
    settings = make_settings(logprobs="exact,none")
    scored_window(connection, calls=[llm_call(model="babylon@0")])
    trainer = peer(settings, falls="refuses")

    train(settings, trainer, WINDOW)

    assert trainer.requests[0].logprobs == "none"
    assert column(connection, "SELECT manifest ->> 'logprobs' FROM training.steps") == ["none"]


def test_deleted_trajectories_are_named_and_the_rest_is_trained(
    connection: Connection, settings: Settings
) -> None:
    ids = scored_window(connection)
    connection.execute('DELETE FROM trajectories WHERE "trajectoryId" = %s', [ids[1]])

    assert train(settings, peer(settings), WINDOW).action == "committed"
    rows = connection.execute("SELECT trajectory_id, reason FROM training.rejections").fetchall()
    assert rows == [(ids[1], "deleted")]


def test_a_success_that_trained_nothing_is_no_step(
    connection: Connection, settings: Settings
) -> None:
    scored_window(connection)
    trainer = peer(settings, falls="idle")

    outcomes = [train(settings, trainer) for _ in range(4)]

    assert [outcome.action for outcome in outcomes] == ["failed", "failed", "failed", "idle"]
    assert trainer.backend_step().step == 0
    row = windows.get(connection, WINDOW)
    assert row.state == "failed"
    assert row.reason is not None
    assert "no gradient step" in row.reason
    assert column(connection, "SELECT count(*) FROM training.consumption") == [0]
    assert column(connection, "SELECT DISTINCT state FROM training.steps") == ["failed"]


def test_a_window_that_failed_for_good_can_be_retried_by_hand(
    connection: Connection, settings: Settings
) -> None:
    scored_window(connection)
    for _ in range(3):
        train(settings, peer(settings, falls="refuses"))
    assert state(connection) == "failed"

    assert windows.retry(connection, WINDOW, actor="test") == "scored"
    assert train(settings, peer(settings), WINDOW).action == "committed"


def test_what_was_used_up_stays_so_when_the_rest_of_its_window_is_planned_again(
    connection: Connection, settings: Settings
) -> None:
    flat = scored_window(connection, rewards=(0.5, 0.5), key="flat")
    ids = scored_window(connection, key="steep")
    train(settings, peer(settings, falls="refuses"), WINDOW)

    assert train(settings, peer(settings), WINDOW).action == "committed"
    uses = connection.execute("SELECT trajectory_id, use FROM training.consumption").fetchall()
    assert dict(uses) == dict.fromkeys(flat, "no_spread") | dict.fromkeys(ids, "trained")


def test_a_window_that_failed_before_is_tried_alone(
    connection: Connection, settings: Settings
) -> None:
    scored_window(connection, hour(1))
    scored_window(connection, hour(2))
    train(settings, peer(settings, falls="refuses"))
    scored_window(connection, hour(3))

    assert train(settings, peer(settings)).windows == [hour(1)]
    assert train(settings, peer(settings), hour(3)).windows == [hour(3)]
    assert train(settings, peer(settings)).windows == [hour(2)]


# --- interrupted


@pytest.mark.parametrize(
    ("falls", "action", "tries"),
    [("before_writing", "committed", 2), ("after_writing", "adopted", 1)],
)
def test_a_trainer_that_dies_leaves_a_step_that_the_next_claimant_ends(
    connection: Connection, settings: Settings, falls: str, action: str, tries: int
) -> None:
    ids = scored_window(connection)
    broken = train(settings, peer(settings, falls=falls), WINDOW)
    successor = peer(settings)

    ended = train(settings, successor, WINDOW)

    assert broken.action == "failed"
    assert (ended.action, ended.step) == (action, 1)
    assert ended.result is not None
    assert ended.result.trainable_tokens == 12
    assert len(successor.requests) == tries - 1
    rows = connection.execute("SELECT id, state, tries FROM training.steps").fetchall()
    assert [row[1:] for row in rows] == [("committed", tries)]
    assert state(connection) == "trained"
    assert column(connection, "SELECT count(*) FROM training.consumption") == [len(ids)]


def test_a_step_that_is_run_again_has_the_very_same_data(
    connection: Connection, make_settings: Callable[..., Settings]
) -> None:
    settings = make_settings(retry_delay_seconds=0)
    first, second = peer(settings, falls="before_writing"), peer(settings)
    seen: list[bytes] = []

    def look(trainer: PeerTrainer) -> Callable[[], None]:
        return lambda: seen.append(Path(trainer.requests[-1].groups_path).read_bytes())

    first.during, second.during = look(first), look(second)
    scored_window(connection)
    train(settings, first, WINDOW)
    # A deploy in between changes the rules; what was planned stays what it was.
    train(make_settings(retry_delay_seconds=0, max_group_size=2, seed=9), second, WINDOW)

    assert seen[0] == seen[1]
    a, b = first.requests[0], second.requests[0]
    assert (a.manifest_hash, a.seed, a.learning_rate) == (b.manifest_hash, b.seed, b.learning_rate)
    assert a.groups_path != b.groups_path


def test_a_step_whose_data_changed_is_failed_and_planned_anew(
    connection: Connection, settings: Settings
) -> None:
    ids = scored_window(connection)
    train(settings, peer(settings, falls="before_writing"), WINDOW)
    connection.execute('DELETE FROM trajectories WHERE "trajectoryId" = %s', [ids[0]])

    failed = train(settings, peer(settings))
    ended = train(settings, peer(settings))

    assert failed.reason == "its trajectories have changed or gone since it was planned"
    assert (ended.action, ended.step) == ("committed", 1)
    assert column(connection, "SELECT state FROM training.steps ORDER BY id") == [
        "failed",
        "committed",
    ]


def test_a_step_that_always_breaks_off_ends_as_failed(
    connection: Connection, settings: Settings
) -> None:
    scored_window(connection)

    reasons = [train(settings, peer(settings, falls="before_writing")).reason for _ in range(4)]

    assert reasons[3] == "interrupted 3 times"
    assert state(connection) == "failed"
    assert column(connection, "SELECT count(*) FROM training.consumption") == [0]


def test_a_checkpoint_from_another_manifest_is_discarded_on_record(
    connection: Connection, settings: Settings
) -> None:
    scored_window(connection)
    train(settings, peer(settings, falls="after_writing"), WINDOW)
    connection.execute(
        """UPDATE training.steps SET manifest = jsonb_set(manifest, '{config,seed}', '7'),
           manifest_hash = 'another'"""
    )

    ended = train(settings, peer(settings), WINDOW)

    assert ended.action == "committed"
    assert "checkpoint_discarded" in kinds(connection)


def test_a_bogus_checkpoint_left_by_a_crash_is_not_adopted(
    connection: Connection, settings: Settings
) -> None:
    scored_window(connection)

    class DiesAfterCopying(PeerTrainer):
        def discard(self, step: int) -> Any:
            raise KeyboardInterrupt(f"in front of {step}")

    with pytest.raises(KeyboardInterrupt):
        train(settings, DiesAfterCopying(settings.data_dir, falls="idle"), WINDOW)
    ended = train(settings, peer(settings), WINDOW)

    assert ended.action == "failed"
    assert "no gradient step" in str(ended.reason)
    assert peer(settings).backend_step().step == 0
    assert train(settings, peer(settings), WINDOW).action == "committed"


def test_a_crash_between_verification_and_commit_is_adopted(
    connection: Connection, settings: Settings, monkeypatch: pytest.MonkeyPatch
) -> None:
    scored_window(connection)

    crash_before_commit(settings, monkeypatch)
    assert column(connection, "SELECT state FROM training.steps") == ["trained"]

    successor = peer(settings)
    assert train(settings, successor, WINDOW).action == "adopted"
    assert successor.requests == []


def test_a_verified_checkpoint_that_vanished_fails_the_step(
    connection: Connection, settings: Settings, monkeypatch: pytest.MonkeyPatch
) -> None:
    scored_window(connection)
    crash_before_commit(settings, monkeypatch)
    peer(settings).discard(1)

    assert "gone from the backend" in str(train(settings, peer(settings), WINDOW).reason)
    assert train(settings, peer(settings), WINDOW).action == "committed"


def test_an_interruption_is_not_held_against_the_window(
    connection: Connection, settings: Settings
) -> None:
    scored_window(connection)

    def stop() -> None:
        raise KeyboardInterrupt

    for _ in range(5):
        trainer = peer(settings, during=stop)
        with pytest.raises(KeyboardInterrupt):
            train(settings, trainer, WINDOW)
        assert trainer.killed
    lineage = lineages.get(connection, "babylon")
    assert lineage is not None
    assert not lineage.leased

    assert train(settings, peer(settings), WINDOW).action == "committed"


def test_a_backend_that_is_not_at_the_head_is_refused_and_left_alone(
    connection: Connection, settings: Settings
) -> None:
    scored_window(connection, hour(1))
    train(settings, peer(settings), hour(1))
    scored_window(connection, hour(2))
    peer(settings).discard(1)

    with pytest.raises(TrainingError, match="head at step 1, but the backend stands at 0"):
        train(settings, peer(settings), hour(2))
    assert state(connection, hour(2)) == "scored"


def test_the_wait_after_a_break_is_kept(
    connection: Connection, make_settings: Callable[..., Settings]
) -> None:
    settings = make_settings(retry_delay_seconds=3600)
    scored_window(connection)
    train(settings, peer(settings, falls="before_writing"), WINDOW)
    trainer = peer(settings)

    assert train(settings, trainer, WINDOW).action == "busy"
    assert trainer.requests == []


# --- who may act


def test_of_many_claimants_one_gets_the_lease(
    connection: Connection, settings: Settings, make_settings: Callable[..., Settings]
) -> None:
    lineages.ensure(connection, settings)
    barrier = threading.Barrier(8)
    won: list[int] = []

    def claim(number: int) -> None:
        from babylon_tasks.db.session import connect

        with connect(settings) as own:
            barrier.wait()
            lease = lineages.claim(own, "babylon", f"worker-{number}", 30)
        if lease is not None:
            won.append(lease.fencing_token)

    threads = [threading.Thread(target=claim, args=(n,)) for n in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()

    assert won == [1]


def test_of_many_workers_on_one_window_one_trains_it(
    connection: Connection, settings: Settings
) -> None:
    ids = scored_window(connection)
    barrier = threading.Barrier(6)
    outcomes: list[str] = []

    def work() -> None:
        barrier.wait()
        outcomes.append(train(settings, peer(settings), WINDOW).action)

    threads = [threading.Thread(target=work) for _ in range(6)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()

    assert outcomes.count("committed") == 1
    assert set(outcomes) <= {"committed", "busy", "skipped", "idle"}
    assert column(connection, "SELECT count(*) FROM training.consumption") == [len(ids)]
    assert column(connection, "SELECT state FROM training.steps") == ["committed"]


def test_a_superseded_claimant_can_change_nothing(
    connection: Connection, settings: Settings
) -> None:
    old, step, ids = planned_step(connection, settings)
    running = steps.advance(connection, old, step, START, actor="test")
    expire(connection)
    new = lineages.claim(connection, "babylon", "two", 30)
    assert new is not None
    assert new.fencing_token == old.fencing_token + 1
    trained = msgspec.structs.replace(running, state=StepState.TRAINED)
    rewards = [(one, 0.5) for one in ids]
    before = connection.execute("SELECT s.* FROM training.steps s").fetchall()

    def commit() -> None:
        commit_step(connection, old, trained, RESULT, base_model="m", rewards=rewards, actor="test")

    for act in (
        lambda: lineages.renew(connection, old, 30),
        lambda: steps.advance(connection, old, running, RESTART, actor="test"),
        lambda: steps.advance(
            connection, old, running, POSTPONE, actor="test", columns={"error": "x", "delay": 0}
        ),
        lambda: verified(connection, old, running),
        lambda: fail_step(connection, old, running, "x", settings, actor="test"),
        lambda: steps.advance(connection, old, running, TAKE_OVER, actor="test"),
        commit,
    ):
        with pytest.raises(StaleLease):
            act()
    assert not lineages.release(connection, old)
    assert connection.execute("SELECT s.* FROM training.steps s").fetchall() == before
    lineage = lineages.get(connection, "babylon")
    assert lineage is not None
    assert (lineage.lease_owner, lineage.head_step) == ("two", 0)
    assert column(connection, "SELECT count(*) FROM training_batches") == [0]


@pytest.mark.parametrize("taken_over", [False, True])
def test_a_superseded_claimant_cannot_commit_even_a_verified_step(
    connection: Connection, settings: Settings, taken_over: bool
) -> None:
    old, step, ids = planned_step(connection, settings)
    running = steps.advance(connection, old, step, START, actor="test")
    trained = verified(connection, old, running)
    expire(connection)
    new = lineages.claim(connection, "babylon", "two", 30)
    assert new is not None

    def commit(lease: lineages.Lease, row: steps.Step) -> None:
        rewards = [(one, 0.5) for one in ids]
        commit_step(connection, lease, row, RESULT, base_model="m", rewards=rewards, actor="t")

    mine = (
        steps.advance(connection, new, trained, TAKE_OVER, actor="test") if taken_over else trained
    )
    with pytest.raises(StaleLease):
        commit(old, trained)
    assert column(connection, "SELECT state FROM training.steps") == ["trained"]
    if taken_over:
        commit(new, mine)
        assert column(connection, "SELECT state FROM training.steps") == ["committed"]


def test_a_worker_that_was_superseded_while_training_discards_its_work(
    connection: Connection, settings: Settings
) -> None:
    scored_window(connection)

    def supersede() -> None:
        expire(connection)
        assert lineages.claim(connection, "babylon", "another", 30) is not None

    with pytest.raises(StaleLease):
        train(settings, peer(settings, during=supersede), WINDOW)

    assert column(connection, "SELECT state FROM training.steps") == ["running"]
    assert state(connection) == "training"


def test_a_worker_that_learns_it_is_superseded_kills_its_trainer(
    connection: Connection, make_settings: Callable[..., Settings]
) -> None:
    settings = make_settings(lease_seconds=2)
    scored_window(connection)
    trainer = peer(settings)
    gone = threading.Event()
    trainer.kill = lambda: (setattr(trainer, "killed", True), gone.set())[0]  # type: ignore[method-assign]

    def supersede() -> None:
        expire(connection)
        assert lineages.claim(connection, "babylon", "another", 60) is not None
        assert gone.wait(30), "the heartbeat never noticed"

    trainer.during = supersede
    with pytest.raises(StaleLease):
        train(settings, trainer, WINDOW)
    assert trainer.killed


def test_a_long_run_keeps_its_lease_and_stores_its_progress(
    connection: Connection, make_settings: Callable[..., Settings]
) -> None:
    settings = make_settings(lease_seconds=2)
    scored_window(connection)
    seen: list[object] = []

    def work_longer_than_the_lease() -> None:
        first = column(connection, "SELECT lease_until FROM training.lineages")
        for _ in range(600):
            now = column(connection, "SELECT lease_until FROM training.lineages")
            stored = column(connection, "SELECT (progress ->> 'total')::int FROM training.steps")
            if now != first and stored != [None]:
                seen.extend(stored)
                return
            threading.Event().wait(0.05)

    outcome = train(settings, peer(settings, during=work_longer_than_the_lease), WINDOW)

    assert outcome.action == "committed"
    assert seen == [1]


def test_a_trajectory_is_used_once_for_ever(connection: Connection, settings: Settings) -> None:
    lease, _, ids = planned_step(connection, settings)

    with pytest.raises(DatabaseError, match="already used"):
        consumption.consume(connection, lease, [Use(ids[0], 1, WINDOW, "no_spread")], step_id=None)


def test_a_plan_that_meets_a_used_trajectory_writes_nothing(
    connection: Connection, settings: Settings
) -> None:
    ids = scored_window(connection)
    lineages.ensure(connection, settings)
    lease = lineages.claim(connection, "babylon", "one", 30)
    assert lease is not None
    consumption.consume(connection, lease, [Use(ids[0], 1, WINDOW, "too_small")], step_id=None)

    with pytest.raises(DatabaseError, match="nothing was planned"):
        steps.plan(
            connection,
            lease,
            backend="cpu",
            windows={WINDOW: 1},
            manifest=b"{}",
            manifest_hash="hash",
            uses=[Use(one, 1, WINDOW, "trained") for one in ids],
            actor="test",
        )
    assert column(connection, "SELECT count(*) FROM training.steps") == [0]
    assert state(connection) == "scored"


def test_a_commit_is_whole_or_nothing(connection: Connection, settings: Settings) -> None:
    lease, step, ids = planned_step(connection, settings)
    running = steps.advance(connection, lease, step, START, actor="test")
    trained = verified(connection, lease, running)
    # Babylon's own table refuses at the very end of the transaction.
    connection.execute("ALTER TABLE trained_models ADD CHECK (status <> 'ready')")

    with pytest.raises(CheckViolation):
        commit_step(
            connection,
            lease,
            trained,
            RESULT,
            base_model="m",
            rewards=[(one, 0.5) for one in ids],
            actor="test",
        )
    assert column(connection, "SELECT state FROM training.steps") == ["trained"]
    assert column(connection, "SELECT step FROM training.checkpoints") == [0]
    assert column(connection, 'SELECT DISTINCT "usedInTraining" FROM trajectories') == [False]
    assert column(connection, "SELECT count(*) FROM training_batches") == [0]
    assert column(connection, "SELECT head_step FROM training.lineages") == [0]
    assert state(connection) == "training"


def test_one_step_may_be_unfinished_at_a_time(connection: Connection, settings: Settings) -> None:
    from psycopg.errors import UniqueViolation

    planned_step(connection, settings)
    row = connection.execute(
        "SELECT lineage, base_step, target_step, attempt, backend, windows, manifest_hash"
        " FROM training.steps"
    ).fetchone()
    assert row is not None
    names = ("lineage", "base_step", "target_step", "attempt", "backend", "windows")
    copy = dict(zip((*names, "manifest_hash"), row, strict=True)) | {"manifest": "{}"}

    with pytest.raises(UniqueViolation):
        insert(connection, "training.steps", [copy])
