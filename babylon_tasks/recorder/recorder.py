"""The recorder: agents pass finished trajectories, a thread writes them."""

from __future__ import annotations

import atexit
import os
import threading
import time
import uuid
import weakref
from collections.abc import Mapping, Sequence
from datetime import UTC, datetime
from queue import Empty, Queue, SimpleQueue
from types import TracebackType
from typing import Any, Self

import structlog
from pydantic import SecretStr

from babylon_tasks.agent_settings import DatabaseSettings
from babylon_tasks.read_settings import read
from babylon_tasks.recorder.recording import Recording
from babylon_tasks.recorder.rows import rows_of
from babylon_tasks.recorder.write_batches import FinishedRows, WriteResult, finished, write_all
from babylon_tasks.windows import window_id, window_start

_END_SECONDS = 1.0  # for the thread to count what it drops
log = structlog.get_logger(__name__)


class Recorder:
    """Never blocks and never raises into the agent; safe to call from threads and from asyncio.

    ``database`` is Babylon's address; without it DATABASE_URL is read, from the environment or
    the folder BABYLON_SECRETS_DIR. No other setting is read, so none can break an agent.

    While the database is down, up to ``capacity`` finished trajectories, of ``capacity_bytes`` in
    memory, wait; later ones are dropped, counted and logged. What waits is written many in a
    transaction; a row that is refused loses its own trajectory alone. After a fork the child starts
    with its own empty buffer; those still queued stay with the parent.

    Counts: ``recorded`` (written), ``dropped`` (never tried, or the database was down to the end),
    ``failed`` (refused, or recorded incorrectly), ``raised`` (its block raised; still written)
    and ``unfinished`` (abandoned without ``finish``; nothing was written).
    """

    def __init__(
        self,
        database: str | DatabaseSettings | None = None,
        *,
        capacity: int = 1000,
        capacity_bytes: int = 64 * 2**20,
    ) -> None:
        if isinstance(database, DatabaseSettings):
            self._settings = database
        elif database is None:
            self._settings = read(DatabaseSettings)
        else:
            self._settings = read(DatabaseSettings, database_url=SecretStr(database))
        self._capacity = capacity
        self._capacity_bytes = capacity_bytes
        self._begin()
        itself = weakref.ref(self)
        os.register_at_fork(after_in_child=lambda: _reset(itself))
        self._at_exit = lambda: _close(itself)
        atexit.register(self._at_exit)

    def _begin(self) -> None:
        self.recorded = 0
        self.dropped = 0
        self.failed = 0
        self.raised = 0
        self._unfinished = 0
        self._pending: Queue[FinishedRows | None] = Queue()  # bounded by _take
        self._bytes = 0
        self._uncounted = 0
        self._given_up = False
        self._guard = threading.Lock()
        self._stopping = threading.Event()
        self._thread: threading.Thread | None = None
        self._open: dict[str, weakref.finalize[Any, Recording]] = {}
        # Garbage collection can run while the guard is locked: it may only put, which is reentrant.
        self._abandoned: SimpleQueue[str] = SimpleQueue()

    @property
    def unfinished(self) -> int:
        """Trajectories abandoned without ``finish``, or still open at ``close``."""
        with self._guard:
            self._count_abandoned()
        return self._unfinished

    def start(
        self,
        agent_id: str,
        *,
        scenario_id: str | None = None,
        archetype: str | None = None,
        window: str | None = None,
        now: datetime | None = None,
        episode_id: str | None = None,
        batch_id: str | None = None,
        is_evaluation: bool = False,
        metadata: Mapping[str, Any] | None = None,
    ) -> Recording:
        """Begin a trajectory, for a ``with`` block (as ``record``) or to ``finish`` manually.

        Its window is that of ``now``, or ``window`` (for a replay). Agents of one ``archetype`` are
        compared with each other; a Babylon of 7a46248b does not store it. Raises BadWindowId for an
        invalid ``window`` or ``now``: a bug in the caller, noticed at its first call.
        """
        started = now or datetime.now(UTC)
        if window is None:
            window = window_id(started)
        else:
            window_start(window)
        scenario = scenario_id or window  # as in Babylon's recorder
        facts = {
            "id": str(uuid.uuid4()),
            "trajectory_id": str(uuid.uuid4()),
            "agent_id": agent_id,
            "window": window,
            "scenario_id": scenario,
            "archetype": archetype,
            "episode_id": episode_id or f"{scenario}-{int(started.timestamp() * 1000)}"[-100:],
            "batch_id": batch_id,
            "is_evaluation": is_evaluation,
            "metadata": {"isTrainingData": not is_evaluation, "gameKnowledge": {}}
            | dict(metadata or {}),
        }
        recording = Recording(facts, started, self._take)
        name = recording.trajectory_id
        gone = weakref.finalize(recording, self._abandoned.put, name)
        gone.atexit = False  # close() counts those still open
        with self._guard:
            self._count_abandoned()
            self._open[name] = gone
        return recording

    # with recorder.record(agent) as trajectory: the end of the block finishes it.
    record = start

    def flush(self, timeout: float = 10) -> bool:
        """Wait until everything passed is written or refused; False if time runs out."""
        done = self._pending.all_tasks_done
        with done:
            return done.wait_for(lambda: self._pending.unfinished_tasks == 0, timeout)

    def close(self, timeout: float = 10) -> None:
        """Write queued trajectories for at most ``timeout`` seconds, then stop; drop the rest.

        Trajectories that are still open are counted as unfinished.
        """
        atexit.unregister(self._at_exit)
        with self._guard:
            self._count_abandoned()
            still_open = [name for name, gone in self._open.items() if gone.detach()]
            self._count_unfinished(*still_open)
        until = time.monotonic() + timeout
        self.flush(timeout)
        self._stopping.set()
        with self._guard:
            thread, self._thread = self._thread, None
        if thread is not None:
            self._pending.put_nowait(None)
            thread.join(max(_END_SECONDS, until - time.monotonic()))
            self._give_up()
        if self.dropped or self.failed or self._unfinished:
            log.error(
                "recorder.closed",
                recorded=self.recorded,
                dropped=self.dropped,
                failed=self.failed,
                unfinished=self._unfinished,
            )

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self.close()

    def _take(self, recording: Recording) -> None:
        rows: FinishedRows | None = None
        with recording.guarded("rows"):
            rows = finished(*rows_of(recording)) if recording.broken is None else None
        with self._guard:
            self._count_abandoned()
            gone = self._open.pop(recording.trajectory_id, None)
            if gone is not None:
                gone.detach()
            self.raised += recording.raised
            if rows is None:
                self.failed += 1
                return
            closed = self._stopping.is_set()
            # Those that are being written count too.
            full = self._pending.unfinished_tasks >= self._capacity
            if closed or full or self._bytes + rows.size > self._capacity_bytes:
                # Those open at close() have been counted as unfinished.
                self.dropped += not closed or gone is not None
                log.error(
                    "recorder.trajectory_dropped",
                    trajectory=recording.trajectory_id,
                    why="the recorder is closed" if closed else "the buffer is full",
                    dropped=self.dropped,
                )
                return
            self._pending.put_nowait(rows)
            self._bytes += rows.size
            self._uncounted += 1
            if self._thread is None:
                self._thread = threading.Thread(
                    target=write_all,
                    args=(self._settings, self._pending, self._stopping, self._count),
                    name="recorder",
                    daemon=True,  # the agent's exit must not wait for a database that is down
                )
                self._thread.start()

    def _count_abandoned(self) -> None:
        """Count and log what the garbage collector has found; called with the guard locked."""
        while True:
            try:
                self._count_unfinished(self._abandoned.get_nowait())
            except Empty:
                return

    def _count_unfinished(self, *names: str) -> None:
        for name in names:
            # After a fork the parent's are not included: it finishes them itself.
            if self._open.pop(name, None) is not None:
                self._unfinished += 1
                log.error(
                    "recorder.trajectory_abandoned", trajectory=name, unfinished=self._unfinished
                )

    def _give_up(self) -> None:
        """Drop what the thread still has: a silent database may keep it for a minute."""
        with self._guard:
            self.dropped += self._uncounted
            self._uncounted = 0
            self._given_up = True

    def _count(self, result: WriteResult, batch: Sequence[FinishedRows]) -> None:
        with self._guard:
            if self._given_up:
                return
            self._uncounted -= len(batch)
            setattr(self, result, getattr(self, result) + len(batch))
            self._bytes -= sum(one.size for one in batch)


def _reset(recorder: weakref.ref[Recorder]) -> None:
    found = recorder()
    if found is not None:
        found._begin()


def _close(recorder: weakref.ref[Recorder]) -> None:
    found = recorder()
    if found is not None:
        found.close()
