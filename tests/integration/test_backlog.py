"""More hours wait than answers may be steps old: the oldest are trained, the others named."""

from __future__ import annotations

from collections.abc import Callable

from by_hand import promote_head
from peer import PeerTrainer
from scored_windows import column, hour, scored_window

from babylon_tasks.db import run_report
from babylon_tasks.db.session import Connection
from babylon_tasks.pipeline.train import train_window
from babylon_tasks.run_history import run_history
from babylon_tasks.settings import Settings


def test_an_hour_that_grew_too_old_waited_until_it_was_skipped(
    connection: Connection, make_settings: Callable[..., Settings]
) -> None:
    """Where nothing is trained, and hours grow stale, the curves of the report show the wait."""
    settings = make_settings(max_windows_per_step=1, max_staleness_steps=0)
    trainer = PeerTrainer(settings.data_dir)
    for number in range(3):
        scored_window(connection, hour(number))
    connection.execute(
        "UPDATE training.windows SET sealed_at = now() - interval '30 hours',"
        " scored_at = now() - interval '29 hours'"
    )

    while train_window(settings, trainer, window=None, actor="test").action != "idle":
        promote_head(connection)

    rows = run_report.read(connection, "babylon", since=None)
    skipped = [one for one in rows.windows if (one.state, one.reason) == ("skipped", "stale")]
    assert len(skipped) == 2
    drawn = run_history(rows)
    assert drawn is not None
    assert all(one.hours is not None and one.hours > 29.5 for one in drawn.points)


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
