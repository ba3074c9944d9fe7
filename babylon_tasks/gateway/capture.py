"""Captured calls on their way: out of a request into a queue, a file, and Postgres.

Requests only put into the queue, which is bounded in bytes. One thread packs and appends to the
files (``call_spool``), another takes them from there to Postgres, so that neither waits for the
other. Where there is no room the newest are lost, counted and logged: an answer never is.
"""

from __future__ import annotations

import threading
import time
from collections import Counter
from datetime import UTC, datetime

import msgspec
import structlog

from babylon_tasks import tracing
from babylon_tasks.db import calls
from babylon_tasks.db.calls import CapturedCall
from babylon_tasks.db.session import session
from babylon_tasks.errors import BabylonTasksError
from babylon_tasks.gateway import metrics
from babylon_tasks.gateway.call_spool import CallSpool, SpooledCalls
from babylon_tasks.gateway.capture_state import CaptureState
from babylon_tasks.gateway.captured import PassedOn, Sampled, captured, trace_call
from babylon_tasks.settings import Settings

# The most that may wait in memory for the thread that writes.
QUEUE_BYTES = 32 * 2**20
_WRITE_SECONDS = 0.05  # the most that is lost when the process is killed
_SYNC_SECONDS = 0.2  # and when the machine crashes
_SYNC_BYTES = 2**20
_SHIP_SECONDS = 1.0
_TAKE_OVER_SECONDS = 30.0
_ROWS, _ROWS_BYTES = 500, 4 * 2**20  # of one statement
# Shorter than elsewhere: it must not keep the process from stopping.
_SILENCE_SECONDS = 5.0
_STOP_SECONDS = 10.0
_LOG_SECONDS = 60.0
log = structlog.get_logger(__name__)


class Capture:
    """The captures of one gateway; what it cannot write now it keeps, up to its bounds."""

    def __init__(self, settings: Settings) -> None:
        self._settings = settings
        self._queue: list[Sampled | PassedOn] = []
        self._queued = 0
        self._mutex = threading.Lock()  # locked for an instant: requests pass through it
        self._spool: CallSpool | None = None
        self._lost: Counter[CaptureState] = Counter()
        self._logged_at = 0.0
        self._trouble: str | None = None
        self._stopping = threading.Event()
        self._ended = threading.Event()
        self._writer = threading.Thread(target=self._write_on, name="capture", daemon=True)
        self._shipper = threading.Thread(target=self._ship_on, name="ship-calls", daemon=True)

    def start(self) -> None:
        """Begin to write; files that a dead process has left here come first."""
        self._writer.start()
        self._shipper.start()

    def stop(self) -> None:
        """Write what is queued, and to Postgres what it takes in ten seconds; the rest is kept."""
        self._stopping.set()
        self._writer.join(timeout=_STOP_SECONDS)
        self._ended.set()
        self._shipper.join(timeout=_STOP_SECONDS)
        if self._spool is not None and not self._shipper.is_alive():
            self._spool.close()

    def put(self, answered: Sampled | PassedOn) -> None:
        """Keep an answer; waits for nothing, and loses it where the queue is full."""
        with self._mutex:
            if self._queued + answered.size <= QUEUE_BYTES:
                self._queue.append(answered)
                self._queued += answered.size
                return
        self._lose(CaptureState.QUEUE_FULL, 1)

    def lose(self, state: CaptureState, why: str) -> None:
        """Count an answer that cannot be kept."""
        self._lose(state, 1, why)

    def _write_on(self) -> None:
        self._opened()
        synced_at, unsynced = time.monotonic(), 0
        while True:
            # Not woken by each request: that would hand the interpreter over while it is answered.
            stopping = self._stopping.wait(_WRITE_SECONDS)
            with self._mutex:
                batch, self._queue, self._queued = self._queue, [], 0
            unsynced += self._append(batch)
            if unsynced and (
                stopping or unsynced >= _SYNC_BYTES or time.monotonic() - synced_at >= _SYNC_SECONDS
            ):
                self._synced()
                synced_at, unsynced = time.monotonic(), 0
            if stopping and not batch:
                return

    def _append(self, batch: list[Sampled | PassedOn]) -> int:
        """Write a batch to the files; returns the bytes."""
        records: list[bytes] = []
        for answered in batch:
            try:
                records.append(msgspec.msgpack.encode(captured(answered)))
                trace_call(answered, self._settings.traced_calls)
            except Exception as error:  # noqa: BLE001  # any text of a client or server
                self._lose(CaptureState.UNREADABLE, 1, f"{type(error).__name__}: {error}")
        spool = self._opened() if records else None
        if spool is None:
            self._lose(CaptureState.DISK, len(records))
            return 0
        try:
            written = spool.append(records)
        except Exception as error:  # noqa: BLE001  # whatever it is, this thread must go on
            self._lose(CaptureState.DISK, len(records), f"{type(error).__name__}: {error}")
            return 0
        self._lose(CaptureState.SPOOL_FULL, len(records) - written)
        metrics.CAPTURES_QUEUED.set(spool.size)
        return sum(map(len, records[:written]))

    def _synced(self) -> None:
        try:
            if self._spool is not None:
                self._spool.sync()
        except OSError as error:
            log.warning("calls.not_synced", why=str(error))

    def _opened(self) -> CallSpool | None:
        """Open the spool, anew where somebody has taken its folder away; None if that fails."""
        if self._spool is not None and self._spool.gone:
            self._lose(CaptureState.DISK, self._spool.give_up(), f"{self._spool.folder} is gone")
            self._spool.close()
            self._spool = None
        if self._spool is None:
            settings = self._settings
            try:
                self._spool = CallSpool(settings.gateway_spool_dir, settings.gateway_spool_bytes)
            except OSError as error:
                self._note(f"BABYLON_GATEWAY_SPOOL_DIR cannot be used: {error}")
        return self._spool

    def _ship_on(self) -> None:
        looked_at = time.monotonic()
        while not self._ended.wait(_SHIP_SECONDS):
            look = time.monotonic() - looked_at >= _TAKE_OVER_SECONDS
            if self._spool is not None:
                looked_at = time.monotonic() if look else looked_at
                self._ship(self._spool, look=look)
        if self._spool is not None:
            self._ship(self._spool)

    def _ship(self, spool: CallSpool, *, look: bool = False) -> None:
        """Bring to Postgres what waits; where that fails it goes on waiting.

        ``look``: that of processes that are dead too.
        """
        try:
            if look:
                spool.take_over()
            while (found := spool.next(_ROWS, _ROWS_BYTES)) is not None:
                self._insert(found, ours=spool.owns(found.path))
                spool.done(found)
                metrics.CAPTURES_QUEUED.set(spool.size)
        except BabylonTasksError as error:
            self._note(str(error))
        except Exception as error:
            self._note(f"{type(error).__name__}: {error}")
            log.exception("calls.failed")
        else:
            self._trouble = None
        finally:
            self._lose(CaptureState.DISK, spool.put_back())

    def _insert(self, found: SpooledCalls, *, ours: bool) -> None:
        rows: list[CapturedCall] = []
        for record in found.records:
            try:
                rows.append(msgspec.msgpack.decode(record, type=CapturedCall))
            except msgspec.MsgspecError as error:
                self._lose(CaptureState.REFUSED, 1, f"of another release: {error}")
        began = datetime.now(UTC)
        with session(self._settings, patience=0, silence=_SILENCE_SECONDS) as connection:
            inserted = calls.insert(connection, rows, self._settings.calls_kept_hours)
        for window, count in Counter(row.window_id for row in rows).items():
            tracing.record(tracing.Span.CAPTURE, [window], began=began, calls=count)
        # Of our own what is there already was written by a try whose end we did not learn; a
        # process that died has counted it.
        written = len(rows) - inserted.refused if ours else inserted.written
        metrics.CAPTURES.labels(CaptureState.WRITTEN).inc(written)
        self._lose(CaptureState.REFUSED, inserted.refused)
        if found.torn:
            self._lose(
                CaptureState.TORN,
                found.lost,
                f"{found.torn} bytes of {found.path} are damaged or gone",
            )

    def _note(self, why: str) -> None:
        if why != self._trouble:
            log.warning("calls.delayed", why=why)
        self._trouble = why

    def _lose(self, state: CaptureState, count: int, why: str | None = None) -> None:
        """Count lost captures; the log has them once a minute at most."""
        if not count:
            return
        metrics.CAPTURES.labels(state).inc(count)
        self._lost[state] += count
        if time.monotonic() - self._logged_at >= _LOG_SECONDS or not self._logged_at:
            self._logged_at = time.monotonic()
            log.warning("calls.lost", so_far=dict(self._lost), why=why)
