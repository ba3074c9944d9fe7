"""Reading a window's trajectories in bounded memory."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from datetime import datetime

import msgspec

from babylon_tasks.db.session import Connection
from babylon_tasks.db.sql import queries
from babylon_tasks.records import RawTrajectory
from babylon_tasks.settings import Settings
from babylon_tasks.windows import window_end, window_start

# What a batch may weigh; larger rows are fetched one at a time, so memory does not depend on
# how many of them meet in a batch.
_BATCH_BYTES = 16_000_000


@contextmanager
def snapshot(connection: Connection) -> Iterator[None]:
    """One unchanging view of the database for the length of a block; nothing can be written."""
    with connection.transaction():
        connection.execute(queries("trajectories")["begin_snapshot"])
        yield


def stream_window(
    connection: Connection, window: str, settings: Settings
) -> Iterator[list[RawTrajectory]]:
    """The rows of a window in batches, within the caller's transaction.

    A row belongs to a window by its "windowId", or, where the writer set none, by its start.
    Rows beyond ``max_steps_bytes`` come without their text: it never leaves the server.
    """
    parameters = {
        "window": window,
        "start": _naive(window_start(window)),
        "end": _naive(window_end(window)),
        "inline": min(settings.max_steps_bytes, _BATCH_BYTES // settings.read_batch),
    }
    statements = queries("trajectories")
    with connection.cursor(name="stream_window", binary=True) as cursor:
        cursor.execute(statements["stream_window"], parameters)
        while rows := cursor.fetchmany(settings.read_batch):
            batch: list[RawTrajectory] = []
            large: list[RawTrajectory] = []
            for row in rows:
                raw = RawTrajectory(*row)
                fetchable = raw.steps_json is None and _is_wanted(raw, settings)
                (large if fetchable else batch).append(raw)
            del rows
            if batch:
                yield batch
            for raw in large:
                found = connection.execute(
                    statements["steps_of"], {"trajectory_id": raw.trajectory_id}, binary=True
                ).fetchone()
                # The snapshot that listed the row still holds its text.
                yield [msgspec.structs.replace(raw, steps_json=found[0] if found else None)]


def _is_wanted(raw: RawTrajectory, settings: Settings) -> bool:
    usable = raw.is_training_data and not raw.is_evaluation and not raw.already_used
    return usable and raw.steps_bytes <= settings.max_steps_bytes


def _naive(moment: datetime) -> datetime:
    # Babylon's columns carry no zone and mean UTC.
    return moment.replace(tzinfo=None)
