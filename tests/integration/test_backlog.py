"""More hours wait than answers may be steps old: the oldest are trained, the others named."""

from __future__ import annotations

from collections.abc import Callable

from by_hand import promote_head
from peer import PeerTrainer
from scored_windows import column, hour, scored_window

from babylon_tasks.db.session import Connection
from babylon_tasks.pipeline.train import train_window
from babylon_tasks.settings import Settings


def test_what_is_too_old_once_its_turn_comes_is_skipped_and_each_of_it_is_named(
    connection: Connection, make_settings: Callable[..., Settings]
) -> None:
    settings = make_settings(max_windows_per_step=2, max_staleness_steps=1)
    trainer = PeerTrainer(settings.data_dir)
    recorded = {hour(number): scored_window(connection, hour(number)) for number in range(6)}

    while train_window(settings, trainer, window=None, actor="test").action != "idle":
        promote_head(connection)

    ended = connection.execute("SELECT window_id, state, reason FROM training.windows ORDER BY 1")
    assert ended.fetchall() == [
        *((hour(number), "trained", None) for number in range(4)),
        *((hour(number), "skipped", "stale") for number in (4, 5)),
    ]
    refused = column(
        connection, "SELECT trajectory_id FROM training.rejections WHERE reason = 'stale'"
    )
    assert sorted(refused) == sorted(recorded[hour(4)] + recorded[hour(5)])
    (texts,) = column(connection, "SELECT count(detail) FROM training.rejections")
    assert texts == 2, "the same text for each of an hour is written once"
