"""A checkpoint whose worker was killed before the decision is decided about before the next step.

The next step starts from what serves: beside an undecided checkpoint, whose hours would count for
nothing.
"""

from __future__ import annotations

from collections.abc import Callable

import pytest
from evaluated_checkpoints import held_out_windows, trained
from peer import PeerTrainer
from scored_windows import hour, scored_window
from training_steps import work

from babylon_tasks.db.session import Connection
from babylon_tasks.pipeline.train import train_window
from babylon_tasks.settings import Settings

VALUES = {0: 0.5, 1: 0.6, 2: 0.7}


@pytest.fixture
def settings(make_settings: Callable[..., Settings]) -> Settings:
    return make_settings(min_eval_groups=3, retry_delay_seconds=0)


def decided(connection: Connection) -> list[tuple[object, ...]]:
    query = "SELECT from_step, to_step, decision FROM training.promotions ORDER BY id"
    return connection.execute(query).fetchall()


def test_one_that_was_committed(connection: Connection, settings: Settings) -> None:
    trainer = PeerTrainer(settings.data_dir, values=VALUES)
    held_out_windows(connection)
    trained(connection, settings, trainer, 1)  # and its worker is killed
    scored_window(connection, hour(2))

    work(settings, trainer, hour(2))

    assert decided(connection) == [(0, 1, "promote"), (1, 2, "promote")]
    assert [request.parent_step for request in trainer.requests] == [0, 1]


def test_one_that_is_recovered_for_a_message_about_another_window(
    connection: Connection, settings: Settings
) -> None:
    held_out_windows(connection)
    scored_window(connection, hour(1))
    broken = PeerTrainer(settings.data_dir, values=VALUES, falls="before_writing")
    train_window(settings, broken, window=hour(1), actor="test")
    scored_window(connection, hour(2))
    trainer = PeerTrainer(settings.data_dir, values=VALUES)

    outcome = work(settings, trainer, hour(2))

    assert (outcome.step, outcome.windows) == (2, [hour(2)])
    assert decided(connection) == [(0, 1, "promote"), (1, 2, "promote")]
    assert [request.parent_step for request in trainer.requests] == [0, 1]
