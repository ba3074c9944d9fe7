"""A training step that was interrupted is run again, adopted or given up; never counted twice."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from factories import WINDOW, exact_call, step
from peer import PeerTrainer
from scored_windows import column, hour, scored_window
from training_steps import crash_before_commit, kinds, peer, state, train, warm

from babylon_tasks.db import lineages
from babylon_tasks.db.session import Connection
from babylon_tasks.errors import TrainingError
from babylon_tasks.settings import Settings
from babylon_tasks.training.groups_file import write_groups
from babylon_tasks.training.protocol import TrainRequest


@pytest.fixture
def settings(make_settings: Callable[..., Settings]) -> Settings:
    return make_settings(retry_delay_seconds=0, max_attempts=3, lease_seconds=30)


@pytest.fixture(params=["grpo", "supervised"])
def begun(
    connection: Connection, settings: Settings, request: pytest.FixtureRequest
) -> Callable[[], list[str]]:
    """``begun()``: a window for the next step, which is planned where a command plans it.

    Returns the trajectories that the step takes.
    """

    def begin() -> list[str]:
        ids = scored_window(connection)
        if request.param == "grpo":
            return ids
        assert warm(settings).step == 1
        return ids[-1:]  # the better part

    return begin


@pytest.mark.parametrize(
    ("falls", "action", "tries"),
    [("before_writing", "committed", 2), ("after_writing", "adopted", 1)],
)
def test_a_trainer_that_dies_leaves_a_step_that_the_next_claimant_ends(
    connection: Connection,
    settings: Settings,
    begun: Callable[[], list[str]],
    falls: str,
    action: str,
    tries: int,
) -> None:
    ids = begun()
    broken = train(settings, peer(settings, falls=falls), WINDOW)
    successor = peer(settings)

    ended = train(settings, successor, WINDOW)

    assert broken.action == "failed"
    assert (ended.action, ended.step) == (action, 1)
    assert ended.result is not None
    assert ended.result.trainable_tokens == 3 * len(ids)
    assert len(successor.requests) == tries - 1
    rows = connection.execute("SELECT id, state, tries FROM training.steps").fetchall()
    assert [row[1:] for row in rows] == [("committed", tries)]
    assert state(connection) == ("trained" if len(ids) > 1 else "scored")  # the rest is left over
    assert column(connection, "SELECT trajectory_id FROM training.consumption ORDER BY 1") == ids


def test_after_an_unfinished_step_its_checkpoint_is_decided_about_before_another_is_planned(
    connection: Connection, settings: Settings
) -> None:
    scored_window(connection, hour(1))
    train(settings, peer(settings, falls="before_writing"), hour(1))
    scored_window(connection, hour(2))
    trainer = peer(settings)

    first, second = train(settings, trainer, hour(2)), train(settings, trainer, hour(2))

    assert (first.action, first.step, first.windows) == ("committed", 1, [hour(1)])
    assert (second.action, second.step, second.windows) == ("committed", 2, [hour(2)])


def test_a_step_that_is_run_again_has_the_very_same_data(
    begun: Callable[[], list[str]], make_settings: Callable[..., Settings]
) -> None:
    settings = make_settings(retry_delay_seconds=0)
    first, second = peer(settings, falls="before_writing"), peer(settings)
    seen: list[bytes] = []

    def look(trainer: PeerTrainer) -> Callable[[], None]:
        return lambda: seen.append(Path(trainer.requests[-1].groups_path).read_bytes())

    first.during, second.during = look(first), look(second)
    begun()
    train(settings, first, WINDOW)
    # A deploy in between changes the rules; what was planned stays what it was.
    other = {"max_group_size": 2, "seed": 9, "supervised_epochs": 4}
    train(make_settings(retry_delay_seconds=0, **other), second, WINDOW)

    assert seen[0] == seen[1]
    a, b = first.requests[0], second.requests[0]
    assert (a.manifest_hash, a.seed, a.learning_rate) == (b.manifest_hash, b.seed, b.learning_rate)
    assert a.supervised == b.supervised
    assert a.groups_path != b.groups_path


def test_a_step_of_which_some_calls_are_left_out_is_run_again_with_the_same_ones(
    connection: Connection, settings: Settings
) -> None:
    scored_window(connection, calls=[exact_call("YES", carries="images"), exact_call("YES")])
    first, second = peer(settings, falls="before_writing"), peer(settings)
    train(settings, first, WINDOW)

    ended = train(settings, second, WINDOW)

    assert ended.action == "committed"
    assert second.requests[0].manifest_hash == first.requests[0].manifest_hash
    assert column(connection, "SELECT tries FROM training.steps") == [2]


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


def test_a_step_whose_row_has_lost_a_call_since_is_failed(
    connection: Connection, settings: Settings
) -> None:
    """The step holds the second call only, and the row has one call now."""
    seen, read = exact_call("YES", carries="images"), exact_call("YES")
    ids = scored_window(connection, calls=[seen, read])
    train(settings, peer(settings, falls="before_writing"), WINDOW)
    connection.execute(
        'UPDATE trajectories SET "stepsJson" = %s WHERE "trajectoryId" = %s',
        [json.dumps([step(0, [read])]), ids[0]],
    )

    failed = train(settings, peer(settings), WINDOW)

    assert failed.reason == "its trajectories have changed or gone since it was planned"


def test_a_checkpoint_of_a_step_that_is_on_record_as_planned_only_is_adopted(
    connection: Connection, settings: Settings, begun: Callable[[], list[str]]
) -> None:
    """As after restoring the database from a moment before the run began."""
    begun()
    train(settings, peer(settings, falls="after_writing"), WINDOW)
    connection.execute("UPDATE training.steps SET state = 'planned', started_at = NULL")
    successor = peer(settings)

    assert train(settings, successor, WINDOW).action == "adopted"
    assert successor.requests == []


def test_a_step_that_always_breaks_off_ends_as_failed(
    connection: Connection, settings: Settings, begun: Callable[[], list[str]]
) -> None:
    begun()

    reasons = [train(settings, peer(settings, falls="before_writing")).reason for _ in range(4)]

    assert reasons[3] == "interrupted 3 times"
    assert state(connection) == "failed"
    assert column(connection, "SELECT count(*) FROM training.consumption") == [0]


def test_a_checkpoint_from_another_manifest_is_set_aside_on_record(
    connection: Connection, settings: Settings, begun: Callable[[], list[str]]
) -> None:
    begun()
    train(settings, peer(settings, falls="after_writing"), WINDOW)
    connection.execute(
        """UPDATE training.steps SET manifest = jsonb_set(manifest, '{config,seed}', '7'),
           manifest_hash = 'another'"""
    )

    ended = train(settings, peer(settings), WINDOW)

    assert ended.action == "committed"
    assert "checkpoint_set_aside" in kinds(connection)


def test_a_bogus_checkpoint_left_by_a_crash_is_not_adopted(
    connection: Connection, settings: Settings, begun: Callable[[], list[str]]
) -> None:
    begun()

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
    connection: Connection,
    settings: Settings,
    begun: Callable[[], list[str]],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    begun()

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
    connection: Connection, settings: Settings, begun: Callable[[], list[str]]
) -> None:
    begun()

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

    with pytest.raises(TrainingError, match="head at step 1, but the backend is at 0"):
        train(settings, peer(settings), hour(2))
    assert state(connection, hour(2)) == "scored"


def test_a_step_whose_loss_is_not_finite_is_failed_with_it_on_record_and_discarded(
    connection: Connection, settings: Settings
) -> None:
    scored_window(connection)
    trainer = peer(settings, falls="diverges")

    ended = train(settings, trainer, WINDOW)

    assert ended.action == "failed"
    assert "metrics are not finite: loss/train" in str(ended.reason)
    assert trainer.backend_step().step == 0
    assert column(connection, "SELECT metrics FROM training.steps") == [{"loss/train": "nan"}]


def test_a_window_whose_step_failed_waits_for_its_next_attempt(
    connection: Connection, make_settings: Callable[..., Settings]
) -> None:
    settings = make_settings(retry_delay_seconds=3600)
    scored_window(connection)
    train(settings, peer(settings, falls="refuses"), WINDOW)
    trainer = peer(settings)

    ended = train(settings, trainer, WINDOW)

    assert (ended.action, ended.windows) == ("busy", [WINDOW])
    assert f"window {WINDOW} waits for its next attempt at" in str(ended.reason)
    assert trainer.requests == []


@pytest.mark.parametrize("failed_before", [False, True])
def test_a_checkpoint_ahead_of_the_head_that_no_failed_step_made_is_refused_and_left_alone(
    connection: Connection, settings: Settings, tmp_path: Path, failed_before: bool
) -> None:
    """Another database's, perhaps: only what a failed step of this one has left is removed."""
    scored_window(connection)
    if failed_before:
        train(settings, peer(settings, falls="refuses"), WINDOW)
    of_another = TrainRequest(
        base_step=0,
        manifest_hash="another's",
        groups_path=str(tmp_path / "groups.json"),
        learning_rate=4e-4,
        kl_coefficient=0.05,
        seed=0,
        packed_sequence_length=512,
    )
    write_groups(Path(of_another.groups_path), [])
    peer(settings).train(of_another, lambda _: None)

    with pytest.raises(TrainingError, match="head at step 0, but the backend is at 1"):
        train(settings, peer(settings), WINDOW)
    assert peer(settings).backend_step().step == 1
    assert "checkpoint_discarded" not in kinds(connection)


def test_a_checkpoint_ahead_of_the_head_without_a_record_is_refused_and_left_alone(
    connection: Connection, settings: Settings
) -> None:
    scored_window(connection)
    weights = peer(settings).folder / "0001" / "adapter_model.safetensors"
    weights.parent.mkdir(parents=True)
    weights.write_bytes(b"somebody's")

    with pytest.raises(TrainingError, match="head at step 0, but the backend is at 1"):
        train(settings, peer(settings), WINDOW)
    assert weights.exists()


def test_the_wait_after_a_break_is_kept(
    connection: Connection, make_settings: Callable[..., Settings]
) -> None:
    settings = make_settings(retry_delay_seconds=3600)
    scored_window(connection)
    train(settings, peer(settings, falls="before_writing"), WINDOW)
    trainer = peer(settings)

    assert train(settings, trainer, WINDOW).action == "busy"
    assert trainer.requests == []
