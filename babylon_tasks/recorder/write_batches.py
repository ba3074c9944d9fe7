"""The recorder's thread: it writes what waits, as many trajectories as fit into one transaction."""

from __future__ import annotations

import sys
import threading
from collections.abc import Callable, Sequence
from queue import Empty, Queue
from typing import Any, Literal

import structlog
from msgspec import Struct
from tenacity import Retrying, retry_if_exception_type, sleep_using_event, wait_random_exponential
from tenacity.stop import stop_when_event_set

from babylon_tasks.agent_settings import DatabaseSettings
from babylon_tasks.db.recording import TrajectoryWriter
from babylon_tasks.errors import DatabaseError, DatabaseUnavailable

_TRAJECTORIES = 100
_BYTES = 4 * 2**20
log = structlog.get_logger(__name__)
WriteResult = Literal["recorded", "dropped", "failed"]


class FinishedRows(Struct, frozen=True):
    """The rows of a finished trajectory, and the bytes that their texts take in memory."""

    trajectory: dict[str, Any]
    calls: list[dict[str, Any]]
    size: int


Batch = Sequence[FinishedRows]


def finished(trajectory: dict[str, Any], calls: list[dict[str, Any]]) -> FinishedRows:
    """Measure a trajectory's rows by their texts: nothing else in them is large."""
    texts = (value for row in (trajectory, *calls) for value in row.values())
    size = sum(sys.getsizeof(text) for text in texts if isinstance(text, str))
    return FinishedRows(trajectory, calls, size)


def write_all(
    settings: DatabaseSettings,
    pending: Queue[FinishedRows | None],
    stopping: threading.Event,
    count: Callable[[WriteResult, Batch], None],
) -> None:
    """Write until None comes; ``count`` is given what became of each batch.

    While the database is away a batch is tried again, until ``stopping`` is set.
    """
    writer = TrajectoryWriter(settings)
    retrying = Retrying(
        retry=retry_if_exception_type(DatabaseUnavailable),
        wait=wait_random_exponential(multiplier=0.1, max=15),
        sleep=sleep_using_event(stopping),
        stop=stop_when_event_set(stopping),
        before_sleep=lambda state: log.warning(
            "recorder.write_delayed",
            attempt=state.attempt_number,
            queued=pending.unfinished_tasks,
            why=str(state.outcome and state.outcome.exception()),
        ),
        reraise=True,
    )

    def write(batch: Batch) -> None:
        try:
            if stopping.is_set():
                raise DatabaseUnavailable("the recorder is closing")
            calls = [call for one in batch for call in one.calls]
            retrying(writer.write, [one.trajectory for one in batch], calls)
        except DatabaseUnavailable:  # retrying raises it only when the recorder closes
            count("dropped", batch)
        except Exception as error:  # noqa: BLE001  a bad row must not end the writer
            if len(batch) > 1:  # the row at fault loses its own trajectory alone
                middle = len(batch) // 2
                write(batch[:middle])
                write(batch[middle:])
                return
            count("failed", batch)
            _log_refused(batch[0], error)
        else:
            count("recorded", batch)

    more = True
    while more:
        batch, more = next_batch(pending)
        if batch:
            write(batch)
        for _ in batch:
            pending.task_done()
    writer.close()


def _log_refused(row: FinishedRows, error: Exception) -> None:
    if isinstance(error, DatabaseError):
        log.error("recorder.row_refused", why=str(error))
        return
    why = f"{type(error).__name__}: {error}"
    log.error("recorder.write_failed", trajectory=row.trajectory["trajectory_id"], why=why)


def next_batch(pending: Queue[FinishedRows | None]) -> tuple[Batch, bool]:
    """Wait for a trajectory, then take those that wait behind it; False after the last one.

    None in the queue marks the end. A batch ends with the trajectory that makes it large.
    """
    batch: list[FinishedRows] = []
    size = 0
    while len(batch) < _TRAJECTORIES and size < _BYTES:
        try:
            one = pending.get(block=not batch)
        except Empty:
            break
        if one is None:
            return batch, False
        batch.append(one)
        size += one.size
    return batch, True
