"""Every committed step is logged once, also one that was adopted or whose worker was killed."""

from __future__ import annotations

import json
from collections.abc import Callable, Sequence

import pytest
from peer import PeerTrainer
from scored_windows import column, hour, scored_window
from training_steps import crash_before_commit, expire, peer, state, train

from babylon_tasks.db.lease_heartbeat import claim_lineage
from babylon_tasks.db.session import Connection
from babylon_tasks.errors import TrainerDied
from babylon_tasks.pipeline import train as pipeline
from babylon_tasks.pipeline.serve import serve
from babylon_tasks.settings import Settings
from babylon_tasks.training.protocol import LoggedStep

pytestmark = pytest.mark.contract("today")


@pytest.fixture
def settings(make_settings: Callable[..., Settings]) -> Settings:
    return make_settings(retry_delay_seconds=0, max_windows_per_step=1)


def lines(trainer: PeerTrainer) -> list[int]:
    """The steps of the history, whichever trainer wrote them."""
    return [json.loads(line)["step"] for line in trainer.history.read_text().splitlines()]


def kill_after_commit(
    settings: Settings, monkeypatch: pytest.MonkeyPatch, window: str
) -> PeerTrainer:
    """A worker that ends between the commit and the line of its step."""

    def end(*_: object) -> None:
        raise SystemExit(1)

    trainer = peer(settings)
    with monkeypatch.context() as patch:
        patch.setattr(pipeline, "log_steps", end)
        with pytest.raises(SystemExit):
            train(settings, trainer, window)
    assert not trainer.history.exists()
    return trainer


def test_a_committed_step_is_logged_with_what_was_measured(
    settings: Settings, connection: Connection
) -> None:
    scored_window(connection)
    trainer = peer(settings)

    assert train(settings, trainer).action == "committed"

    [logged] = trainer.logged
    assert (logged.step, logged.metrics) == (1, {"loss/train": 0.5})


def test_a_step_that_fails_is_not_logged(settings: Settings, connection: Connection) -> None:
    scored_window(connection)
    trainer = peer(settings, falls="diverges")

    assert train(settings, trainer).action == "failed"

    assert trainer.logged == []


def test_a_step_whose_worker_was_killed_after_the_commit_is_logged_by_the_next_one(
    settings: Settings, connection: Connection, monkeypatch: pytest.MonkeyPatch
) -> None:
    for number in (1, 2):
        scored_window(connection, hour(number))
    kill_after_commit(settings, monkeypatch, hour(1))
    assert state(connection, hour(1)) == "trained"

    trainer = peer(settings)
    assert train(settings, trainer, hour(2)).action == "committed"

    assert lines(trainer) == [1, 2]


def test_a_worker_that_only_serves_logs_what_its_predecessor_committed(
    settings: Settings, connection: Connection, monkeypatch: pytest.MonkeyPatch
) -> None:
    scored_window(connection)
    kill_after_commit(settings, monkeypatch, hour(9))

    trainer = peer(settings)
    serve(settings, trainer)
    serve(settings, trainer)

    assert lines(trainer) == [1]


def test_while_another_has_the_lineage_nobody_else_writes_its_history(
    settings: Settings, connection: Connection, monkeypatch: pytest.MonkeyPatch
) -> None:
    scored_window(connection)
    kill_after_commit(settings, monkeypatch, hour(9))
    trainer = peer(settings)
    with claim_lineage(settings, on_lost=lambda: None):
        serve(settings, trainer)
    assert not trainer.history.exists()


def test_a_step_is_logged_under_the_lease_of_its_lineage(
    settings: Settings, connection: Connection, monkeypatch: pytest.MonkeyPatch
) -> None:
    scored_window(connection)
    trainer = peer(settings)
    leased: list[object] = []
    log_steps = trainer.log_steps

    def log(steps: Sequence[LoggedStep]) -> int:
        query = "SELECT lease_until > clock_timestamp() FROM training.lineages"
        leased.extend(column(connection, query))
        return log_steps(steps)

    monkeypatch.setattr(trainer, "log_steps", log)
    train(settings, trainer)
    serve(settings, trainer)

    assert set(leased) == {True}


def test_an_adopted_step_is_logged_once(
    settings: Settings, connection: Connection, monkeypatch: pytest.MonkeyPatch
) -> None:
    scored_window(connection)
    crash_before_commit(settings, monkeypatch)
    expire(connection)

    trainer = peer(settings)
    assert train(settings, trainer).action == "adopted"

    assert lines(trainer) == [1]


def test_a_step_counts_although_it_cannot_be_logged(
    settings: Settings, connection: Connection
) -> None:
    for number in (1, 2):
        scored_window(connection, hour(number))

    assert train(settings, peer(settings, falls="logging"), hour(1)).action == "committed"
    assert state(connection, hour(1)) == "trained"

    trainer = peer(settings)
    train(settings, trainer, hour(2))
    assert lines(trainer) == [1, 2]


def test_a_trainer_that_dies_over_the_line_leaves_the_step_committed(
    settings: Settings, connection: Connection, monkeypatch: pytest.MonkeyPatch
) -> None:
    scored_window(connection)
    trainer = peer(settings)

    def die(_: object) -> int:
        raise TrainerDied("the trainer was ended by signal SIGKILL")

    with monkeypatch.context() as patch:
        patch.setattr(trainer, "log_steps", die)
        assert train(settings, trainer).action == "committed"

    assert state(connection) == "trained"
