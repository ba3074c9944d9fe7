"""What was refused is deleted at W&B before another job is asked for; its number comes again."""

from __future__ import annotations

import pytest
from factories import exact_call
from scored_windows import column, hour, scored_window
from scoring_runs import MakeSettings
from wandb_peer import WandbPeer

from babylon_tasks.db.invariants import violations
from babylon_tasks.db.session import Connection
from babylon_tasks.pipeline.prune_checkpoints import prune_checkpoints
from babylon_tasks.pipeline.results import TrainOutcome
from babylon_tasks.pipeline.train import train_window
from babylon_tasks.registry import serving
from babylon_tasks.settings import Settings
from babylon_tasks.training.supervisor import Trainer

pytestmark = pytest.mark.contract("today")


def train(settings: Settings, trainer: Trainer) -> TrainOutcome:
    return train_window(settings, trainer, window=None, actor="test")


def test_a_refused_checkpoint_is_deleted_and_its_number_means_another(
    connection: Connection, make_settings: MakeSettings, remote: Trainer, peer: WandbPeer
) -> None:
    settings, peer.steps = make_settings(keep_checkpoints=1), []
    call = exact_call("YES", promptTokenIds=[1, 2, 3])
    for n in (1, 2):
        scored_window(connection, hour(n), calls=[call])
        assert train(settings, remote).step == n
        if n == 1:
            serving.promote(connection, "babylon", 1, reason="r", figures={}, actor="operator")
    serving.refuse(connection, "babylon", 2, reason="nonsense", actor="operator")
    scored_window(connection, hour(3), calls=[call])
    peer.calls.clear()

    third = train(settings, remote)

    assert (third.step, third.windows) == (3, [hour(2), hour(3)])
    asked = [one for one in peer.calls if "DELETE" in one or ("POST" in one and "jobs" in one)]
    assert [one.split()[0] for one in asked] == ["DELETE", "POST"]
    assert peer.steps == [1, 2]
    names = column(connection, "SELECT inference_name FROM training.checkpoints ORDER BY step")
    assert names[2] == names[3], "the second and the third"
    serving.promote(connection, "babylon", 3, reason="r", figures={}, actor="operator")
    assert serving.serving(connection, "babylon").inference_name.endswith(":step2")
    scored_window(connection, hour(4), calls=[call])
    assert train(settings, remote).step == 4
    assert peer.steps == [1, 2, 3]
    serving.promote(connection, "babylon", 4, reason="r", figures={}, actor="operator")
    scored_window(connection, hour(5), calls=[call])
    assert train(settings, remote).step == 5
    numbers = column(connection, "SELECT backend_step FROM training.checkpoints ORDER BY step")
    assert numbers == [None, None, None, 2, 3, 4]
    serving.promote(connection, "babylon", 5, reason="r", figures={}, actor="operator")
    prune_checkpoints(settings, lambda: remote, actor="test")
    assert 4 in peer.steps, "what serves, by W&B's number"
    assert violations(connection, settings) == []
