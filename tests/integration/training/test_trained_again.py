"""A step of the real trainer is trained again to the same bytes, whatever has happened since."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any, ClassVar

import psutil
import pytest
from command_line import one_contract
from factories import EVER, exact_call
from scored_windows import column, hour, scored_window

from babylon_tasks.db.session import Connection
from babylon_tasks.pipeline import train_again
from babylon_tasks.pipeline.replay import Replay, replay
from babylon_tasks.pipeline.score import score_window
from babylon_tasks.pipeline.train import train_window
from babylon_tasks.registry import serving
from babylon_tasks.settings import Settings
from babylon_tasks.training.checkpoints import OPTIMIZER, hash_file
from babylon_tasks.training.supervisor import Trainer

pytestmark = one_contract


@pytest.fixture
def settings(make_settings: Callable[..., Settings], tiny_model: Path) -> Settings:
    return make_settings(
        base_model=str(tiny_model),
        backend="cpu",
        torch_device="cpu",
        inference_port=0,
        packed_sequence_length=128,
        learning_rate=1e-2,
        logprobs="exact,rescored",
        lookback_hours=int(EVER),
        max_staleness_hours=int(EVER),
        outcome_wait_hours=0,
        held_out_share=0,
    )


class Watched(Trainer):
    """A replay's trainer, and what it listened on while it trained."""

    listened: ClassVar[list[Any]] = []

    def train(self, *arguments: Any) -> Any:
        self.ready()
        assert self.pid is not None
        found = psutil.Process(self.pid).net_connections()
        self.listened.extend(one for one in found if one.status == psutil.CONN_LISTEN)
        return super().train(*arguments)


@pytest.fixture
def watched(monkeypatch: pytest.MonkeyPatch) -> Iterator[type[Watched]]:
    monkeypatch.setattr(train_again, "Trainer", Watched)
    yield Watched
    Watched.listened.clear()


def three_steps(connection: Connection, settings: Settings) -> None:
    """Each from the one before, the last on answers of checkpoint 1 that are scored again.

    The trainer that made them has ended.
    """
    answers = {1: exact_call("YES"), 2: exact_call("YES", policy_step=1)}
    answers[3] = {name: value for name, value in answers[2].items() if name != "logprobs"}
    with Trainer(settings) as trainer:
        for number, answer in answers.items():
            asked = {"model": f"babylon@{answer['policyStep']}"}
            scored_window(connection, hour(number), calls=[answer | asked])
            outcome = train_window(settings, trainer, window=hour(number), actor="test")
            assert (outcome.action, outcome.step) == ("committed", number), outcome
            serving.promote(connection, "babylon", number, reason="test", figures={}, actor="test")


def replayed(settings: Settings, number: int) -> Replay:
    return replay(settings, number, train=True, back=10, on_progress=lambda _: None)


def on_disk(folder: Path) -> dict[str, str]:
    """All files of the lineage, with their hashes."""
    return {
        str(path.relative_to(folder)): hash_file(path)
        for path in folder.rglob("*")
        if path.is_file()
    }


def test_steps_are_replayed_equal_after_later_ones_scoring_anew_and_a_restart(
    connection: Connection, settings: Settings, watched: type[Watched]
) -> None:
    three_steps(connection, settings)
    connection.execute(
        "UPDATE training.windows SET state = 'sealed', reward_version = 2 WHERE window_id = %s",
        (hour(2),),
    )
    score_window(settings, hour(2), actor="test")
    changed, deleted = column(
        connection, 'SELECT "trajectoryId" FROM trajectories WHERE "windowId" = %s LIMIT 2', hour(2)
    )
    connection.execute(
        "UPDATE trajectories SET \"stepsJson\" = replace(\"stepsJson\", 'YES', 'NO')"
        ' WHERE "trajectoryId" = %s',
        (changed,),
    )
    connection.execute('DELETE FROM trajectories WHERE "trajectoryId" = %s', (deleted,))
    before = on_disk(settings.data_dir)
    rows = connection.execute("SELECT * FROM training.lineages").fetchall()
    checkpoints = settings.data_dir / "babylon" / "models" / "babylon" / "checkpoints"
    assert not (checkpoints / "0001" / OPTIMIZER).exists()

    second = replayed(settings, 2)
    assert second.trained_again is not None, second.not_trained_again
    assert (second.trained_again.equal, second.trained_again.new_optimizer) == (True, False)
    assert (second.trained_again.started_from, second.trained_again.steps) == (0, [1, 2])
    found = {(one.trajectory_id, str(one.kind)) for one in second.differences}
    assert {(changed, "text"), (deleted, "deleted")} <= found
    assert {name for name, _ in found} == {changed, deleted}

    third = replayed(settings, 3)
    assert third.trained_again is not None, third.not_trained_again
    assert third.trained_again.equal
    assert (third.trained_again.started_from, third.trained_again.steps) == (2, [3])
    labels = column(connection, "SELECT manifest ->> 'logprobs' FROM training.steps ORDER BY id")
    assert labels == ["exact", "exact", "rescored"]

    assert watched.listened == []
    assert on_disk(settings.data_dir) == before
    assert connection.execute("SELECT * FROM training.lineages").fetchall() == rows
