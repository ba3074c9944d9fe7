"""A job at W&B is paid for once, whatever ends while it runs: we, the connection, or the job."""

from __future__ import annotations

from typing import Any

import pytest
from factories import WINDOW, exact_call
from outages import Outage
from scored_windows import column, scored_window
from scoring_runs import MakeSettings
from training_steps import kinds
from wandb_peer import WandbPeer

from babylon_tasks.db import set_aside
from babylon_tasks.db.session import Connection
from babylon_tasks.errors import DatabaseError, TrainingError
from babylon_tasks.pipeline import train as pipeline
from babylon_tasks.pipeline.prune_checkpoints import prune_checkpoints
from babylon_tasks.pipeline.results import TrainOutcome
from babylon_tasks.pipeline.train import train_window
from babylon_tasks.plain_text import plain
from babylon_tasks.settings import Settings
from babylon_tasks.training.protocol import RequestProgress
from babylon_tasks.training.supervisor import Trainer

pytestmark = pytest.mark.contract("today")


@pytest.fixture
def settings(make_settings: MakeSettings) -> Settings:
    return make_settings(retry_delay_seconds=0, max_attempts=2)


@pytest.fixture
def peer(peer: WandbPeer, connection: Connection) -> WandbPeer:
    """The peer without a checkpoint, and a window to train."""
    peer.steps = []
    scored_window(connection, calls=[exact_call("YES", promptTokenIds=[1, 2, 3])])
    return peer


def train(settings: Settings, trainer: Trainer, **how: Any) -> TrainOutcome:
    return train_window(settings, trainer, window=WINDOW, actor="test", **how)


def job(connection: Connection) -> object:
    return column(connection, "SELECT job_reference FROM training.steps")[0]


def die_once_known(progress: RequestProgress) -> None:
    """End the run as soon as the job's reference has come in."""
    if progress.job is not None and progress.job.startswith("job-"):
        raise KeyboardInterrupt


@pytest.mark.parametrize("ended", [False, True], ids=["still runs", "has ended"])
def test_a_job_is_followed_by_whoever_comes_next(
    connection: Connection, settings: Settings, remote: Trainer, peer: WandbPeer, ended: bool
) -> None:
    with pytest.raises(KeyboardInterrupt):
        train(settings, remote, on_progress=die_once_known)
    assert job(connection) == "job-1"
    if ended:
        peer.end("job-1")

    outcome = train(settings, remote)

    assert (outcome.action, outcome.step) == ("adopted", 1)
    assert outcome.result is not None
    assert (outcome.result.gradient_steps, outcome.result.trainable_tokens) == (3, 8)
    assert list(peer.jobs) == ["job-1"]
    assert peer.steps == [1]


def test_a_job_is_followed_though_the_rows_of_its_step_are_gone(
    connection: Connection, settings: Settings, remote: Trainer, peer: WandbPeer
) -> None:
    with pytest.raises(KeyboardInterrupt):
        train(settings, remote, on_progress=die_once_known)
    connection.execute("DELETE FROM trajectories")

    assert train(settings, remote).action == "adopted"
    assert list(peer.jobs) == ["job-1"]
    assert not list(settings.data_dir.rglob("lease-*.json")), "nothing is left of the groups' file"


def test_that_wandb_was_asked_is_stored_once_postgres_takes_writes_again(
    connection: Connection, settings: Settings, remote: Trainer, peer: WandbPeer
) -> None:
    outage = Outage(connection, seconds=3)

    with pytest.raises(DatabaseError):
        train(settings, remote, on_begin=outage.begin)

    outage.await_end()
    assert job(connection) == "?", "W&B may have got the request"
    assert "it may be running" in str(train(settings, remote).reason)


def test_a_verified_step_is_committed_after_a_crash(
    connection: Connection,
    settings: Settings,
    remote: Trainer,
    peer: WandbPeer,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    def end(*_: Any, **__: Any) -> None:
        raise SystemExit(1)

    with monkeypatch.context() as patch:
        patch.setattr(pipeline, "commit_step", end)
        with pytest.raises(SystemExit):
            train(settings, remote)

    assert train(settings, remote).action == "adopted"
    assert list(peer.jobs) == ["job-1"]
    assert not list(settings.data_dir.rglob("lease-*.json"))


@pytest.mark.parametrize(
    "why",
    [
        "the accelerator caught fire",
        "CUDA out of memory",
        "No space left on device (os error 28)",
        "half an emoji \ud83d and a \x00",
    ],
)
def test_a_job_that_failed_is_not_followed(
    connection: Connection, settings: Settings, remote: Trainer, peer: WandbPeer, why: str
) -> None:
    peer.fails = why

    outcome = train(settings, remote)

    assert f"job-1 failed: {plain(why)}" in str(outcome.reason)
    assert outcome.fault == "window", "neither memory nor disk are ours"
    assert column(connection, "SELECT training_tries FROM training.windows") == [1]
    assert job(connection) is None
    peer.fails = None
    assert train(settings, remote).action == "committed"
    assert list(peer.jobs) == ["job-1", "job-2"]


@pytest.mark.parametrize("status", [429, 503])
def test_a_refused_request_is_made_again(
    connection: Connection, settings: Settings, remote: Trainer, peer: WandbPeer, status: int
) -> None:
    peer.answers = [status]

    assert train(settings, remote).action == "failed"
    assert job(connection) is None
    assert train(settings, remote).action == "committed"
    assert list(peer.jobs) == ["job-1"]


@pytest.mark.parametrize("answer", ["lost", "garbled"])
def test_a_lost_answer_is_waited_for_and_its_checkpoint_adopted(
    connection: Connection, settings: Settings, remote: Trainer, peer: WandbPeer, answer: str
) -> None:
    peer.answers = [answer]
    peer.measured = {"num_trainable_tokens": 8, "data/step_num_gradient_steps": 3}

    assert train(settings, remote).action == "failed"
    assert job(connection) == "?"
    assert "it may be running" in str(train(settings, remote).reason)
    peer.end("job-1")

    assert train(settings, remote).action == "adopted"
    assert list(peer.jobs) == ["job-1"]


def test_a_checkpoint_of_a_lost_answer_without_metrics_is_set_aside(
    connection: Connection, settings: Settings, remote: Trainer, peer: WandbPeer
) -> None:
    peer.answers = ["lost"]
    train(settings, remote)
    peer.end("job-1")

    outcome = train(settings, remote)

    assert outcome.action == "failed"
    assert "no number of gradient steps and trained tokens" in str(outcome.reason)
    assert peer.steps == [1]
    assert "checkpoint_set_aside" in kinds(connection)


def test_a_checkpoint_of_a_job_whose_count_of_tokens_has_another_name_is_set_aside(
    connection: Connection, settings: Settings, remote: Trainer, peer: WandbPeer
) -> None:
    peer.counts = "tokens_of_tomorrow"

    outcome = train(settings, remote)

    assert outcome.action == "failed"
    assert "no number of trained tokens" in str(outcome.reason)
    assert peer.steps == [1], "it is paid for, and may be good"
    assert "checkpoint_set_aside" in kinds(connection)


def test_a_job_that_never_shows_is_asked_for_again(
    connection: Connection, make_settings: MakeSettings, remote: Trainer, peer: WandbPeer
) -> None:
    impatient = make_settings(retry_delay_seconds=0, max_attempts=2, wandb_job_seconds=1e-6)
    peer.answers = [500]

    assert train(impatient, remote).action == "failed"
    assert train(impatient, remote).action == "committed"
    assert peer.steps == [1]


def test_a_job_that_ends_after_its_step_has_failed_is_set_aside(
    connection: Connection, make_settings: MakeSettings, remote: Trainer, peer: WandbPeer
) -> None:
    impatient = make_settings(retry_delay_seconds=0, max_attempts=9, wandb_job_seconds=1e-6)
    with pytest.raises(KeyboardInterrupt):
        train(impatient, remote, on_progress=die_once_known)
    assert "job-1 has not ended within" in str(train(impatient, remote).reason)
    peer.end("job-1")

    with pytest.raises(TrainingError, match="W&B ended job job-1 after its step had failed"):
        train(impatient, remote)

    assert list(peer.jobs) == ["job-1"]
    [aside] = set_aside.kept(connection, "babylon")
    assert aside.step == 1
    assert peer.steps == [1]


@pytest.mark.parametrize("killed", [False, True])
def test_a_job_that_ends_beside_the_next_steps_leaves_two_to_delete_and_learning_goes_on(
    connection: Connection,
    make_settings: MakeSettings,
    remote: Trainer,
    peer: WandbPeer,
    killed: bool,
) -> None:
    impatient = make_settings(retry_delay_seconds=0, max_attempts=9, wandb_job_seconds=1e-6)
    with pytest.raises(KeyboardInterrupt):
        train(impatient, remote, on_progress=die_once_known)
    assert "job-1 has not ended within" in str(train(impatient, remote).reason)

    def end_the_first(progress: RequestProgress) -> None:
        if progress.job == "job-2":
            peer.end("job-1")
            if killed:
                peer.end("job-2")
                raise KeyboardInterrupt

    if killed:
        with pytest.raises(KeyboardInterrupt):
            train(impatient, remote, on_progress=end_the_first)
    outcome = train(impatient, remote, on_progress=end_the_first)

    assert "at step 2, expected 1" in str(outcome.reason)
    with pytest.raises(TrainingError, match=r"checkpoints 1, 2 at W&B are set aside .*prune --set"):
        train(impatient, remote)
    prune_checkpoints(impatient, lambda: remote, actor="test", all_set_aside=True)
    assert peer.steps == []
    assert train(impatient, remote).action == "committed"


@pytest.mark.parametrize(("broken", "moved"), [("/chat/", False), ("/events", True)])
def test_what_cannot_be_measured_of_an_overdue_job_is_done_without(
    connection: Connection,
    make_settings: MakeSettings,
    remote: Trainer,
    peer: WandbPeer,
    broken: str,
    moved: bool,
) -> None:
    impatient = make_settings(retry_delay_seconds=0, max_attempts=1, wandb_job_seconds=1e-6)
    peer.measured = {"num_trainable_tokens": 8, "data/step_num_gradient_steps": 3}
    peer.broken = broken
    assert train(impatient, remote).action == "failed"
    peer.end("job-1")

    outcome = train(impatient, remote)

    assert outcome.action == "adopted"
    assert outcome.result is not None
    assert outcome.result.metrics["policy/proven"] == float(moved)
    assert ("policy/moved" in outcome.result.metrics) is moved
    assert (list(peer.jobs), peer.steps) == (["job-1"], [1])


def test_an_overdue_job_of_which_nothing_can_be_read_is_set_aside(
    connection: Connection, make_settings: MakeSettings, remote: Trainer, peer: WandbPeer
) -> None:
    impatient = make_settings(retry_delay_seconds=0, max_attempts=1, wandb_job_seconds=1e-6)
    peer.broken = "/events"
    train(impatient, remote)
    peer.end("job-1")

    outcome = train(impatient, remote)

    assert "no number of gradient steps and trained tokens" in str(outcome.reason)
    assert peer.steps == [1]
    assert "checkpoint_set_aside" in kinds(connection)
