"""A step moves the weights by the share of what was compared that teaches something."""

from __future__ import annotations

import pytest
from peer import PeerTrainer
from planned_steps import MANY, Make, manifest, train
from scored_windows import scored_window

from babylon_tasks.db import branches
from babylon_tasks.db.session import Connection


@pytest.mark.parametrize(("power", "rate"), [(1.0, 1e-4), (0.0, 4e-4)])
def test_a_step_of_which_a_quarter_teaches_moves_the_weights_a_quarter_as_far(
    connection: Connection, make_settings: Make, power: float, rate: float
) -> None:
    settings = make_settings(
        learning_rate=4e-4, learning_rate_warmup_steps=0, learning_rate_spread_power=power
    )
    scored_window(connection, rewards=[0.5] * 8, key="flat")
    scored_window(connection, rewards=[0.5] * 4, key="busy", activities=[1, 2, 3, 4])
    scored_window(connection, rewards=MANY[:4], key="steep")
    trainer = PeerTrainer(settings.data_dir)

    train(settings, trainer)

    assert manifest(connection)["config"]["learning_rate"] == pytest.approx(rate)
    assert trainer.requests[0].learning_rate == pytest.approx(rate)


def test_a_step_planned_in_the_place_of_another_moves_the_weights_no_further(
    connection: Connection, make_settings: Make
) -> None:
    """What taught nothing was used up by the first, and is compared with the second's, too."""
    settings = make_settings(
        learning_rate=4e-4, learning_rate_warmup_steps=0, retry_delay_seconds=0
    )
    scored_window(connection, rewards=[0.5] * 12, key="flat")
    scored_window(connection, rewards=MANY[:4], key="steep")
    rates = []
    for trainer in (
        PeerTrainer(settings.data_dir, falls="refuses"),
        PeerTrainer(settings.data_dir),
    ):
        train(settings, trainer)
        rates.append(manifest(connection)["config"]["learning_rate"])
    assert rates == [pytest.approx(1e-4)] * 2

    with connection.transaction():
        branches.end(connection, settings.lineage, [1], why="refused for harm", actor="test")
    assert train(settings, PeerTrainer(settings.data_dir)).action == "committed"
    assert manifest(connection)["config"]["learning_rate"] == pytest.approx(1e-4)


def test_what_taught_nothing_counts_once_where_its_hour_takes_two_steps(
    connection: Connection, make_settings: Make
) -> None:
    settings = make_settings(
        learning_rate=4e-4,
        learning_rate_warmup_steps=0,
        max_group_size=4,
        step_token_budget=1,
        max_staleness_steps=9,
    )
    scored_window(connection, rewards=[0.5] * 4, key="flat")
    scored_window(connection, rewards=MANY[:8], key="steep")
    trainer = PeerTrainer(settings.data_dir)

    train(settings, trainer)
    train(settings, trainer)

    first, second = (request.learning_rate for request in trainer.requests)
    assert (first, second) == (pytest.approx(2e-4), pytest.approx(4e-4))
