"""A lineage's lease for the length of a block: claimed, renewed during a long run, released."""

from __future__ import annotations

import os
import socket
import threading
import time
import uuid
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from contextvars import copy_context
from types import TracebackType
from typing import Any

import psycopg
import structlog

from babylon_tasks.db import lineages, steps
from babylon_tasks.db.lineages import Lease
from babylon_tasks.db.session import Connection, connect, session
from babylon_tasks.db.steps import Step
from babylon_tasks.errors import DatabaseError, StaleLease
from babylon_tasks.settings import Settings

_TICK_SECONDS = 1.0

log = structlog.get_logger(__name__)


@contextmanager
def claim_lineage(
    settings: Settings, *, on_lost: Callable[[], None]
) -> Iterator[LeaseHeartbeat | None]:
    """Claim the settings' lineage and renew the lease until the block ends.

    Yields None if another has it. ``on_lost`` as in ``LeaseHeartbeat``.
    """
    owner = f"{socket.gethostname()}:{os.getpid()}:{uuid.uuid4().hex[:8]}"
    with session(settings) as connection:
        lease = lineages.claim(connection, settings.lineage, owner, settings.lease_seconds)
    if lease is None:
        yield None
        return
    try:
        with LeaseHeartbeat(settings, lease, on_lost) as heartbeat:
            yield heartbeat
    finally:
        _release(settings, lease)


class LeaseHeartbeat:
    """A thread that renews the lease every quarter of its length, on its own connection.

    When a newer claimant exists, or no renewal has succeeded for 0.8 of the lease, ``on_lost`` is
    called once from another thread, and ``check`` raises from then on.
    """

    def __init__(self, settings: Settings, lease: Lease, on_lost: Callable[[], None]) -> None:
        self.lost: str | None = None
        self._settings = settings
        self.lease = lease
        self._on_lost = on_lost
        self._stop = threading.Event()
        self._lock = threading.Lock()
        self._progress: tuple[Step, Mapping[str, Any]] | None = None
        self._watchdog: threading.Timer | None = None
        self._thread = threading.Thread(
            target=copy_context().run,
            args=(self._renew_until_stopped,),
            name="lease-heartbeat",
            daemon=True,
        )

    def __enter__(self) -> LeaseHeartbeat:
        self._watch(time.monotonic())
        self._thread.start()
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self._stop.set()
        self._thread.join(self._settings.lease_seconds)
        if self._thread.is_alive():  # it waits for Postgres, no longer than its connections do
            log.warning("heartbeat.not_ended", lineage=self.lease.lineage)
        if self._watchdog is not None:
            self._watchdog.cancel()

    def check(self) -> None:
        """Raise StaleLease if the lease is lost."""
        if self.lost is not None:
            raise StaleLease(self.lost)

    def report_progress(self, step: Step, state: Mapping[str, Any]) -> None:
        """Store progress soon; a later call replaces progress that is not stored yet."""
        with self._lock:
            self._progress = (step, state)

    def _renew_until_stopped(self) -> None:
        seconds = self._settings.lease_seconds
        connection: Connection | None = None
        renew_at = time.monotonic() + seconds / 4
        while not self._stop.wait(min(_TICK_SECONDS, seconds / 8)):
            with self._lock:
                progress, self._progress = self._progress, None
            due = time.monotonic() >= renew_at
            if not (due or progress):
                continue
            try:
                connection = connection or connect(
                    self._settings, patience=seconds / 8, silence=seconds / 4
                )
                if due:
                    asked = time.monotonic()
                    lineages.renew(connection, self.lease, seconds)
                    self._watch(asked)
                    renew_at = asked + seconds / 4
                if progress:
                    steps.progress(connection, self.lease, *progress)
            except StaleLease as stale:
                self._lose(str(stale))
                break
            except (DatabaseError, psycopg.Error) as error:
                # Not final yet: the watchdog decides when the lease is lost.
                log.warning("lease.not_renewed", lineage=self.lease.lineage, error=str(error))
                if connection is not None:
                    connection.close()
                connection = None
                with self._lock:
                    self._progress = self._progress or progress
        if connection is not None:
            connection.close()

    def _watch(self, renewed: float) -> None:
        # A renewal may hang in a dead network, so another thread counts the time.
        if self._watchdog is not None:
            self._watchdog.cancel()
        left = renewed + 0.8 * self._settings.lease_seconds - time.monotonic()
        self._watchdog = threading.Timer(max(left, 0), copy_context().run, (self._starve,))
        self._watchdog.daemon = True
        self._watchdog.start()

    def _starve(self) -> None:
        self._lose(
            f"the lease on lineage {self.lease.lineage} (fencing token "
            f"{self.lease.fencing_token}) could not be renewed for "
            f"{0.8 * self._settings.lease_seconds:.0f} s and was given up before another may "
            "claim it; check Postgres, the next claimant recovers the step"
        )

    def _lose(self, why: str) -> None:
        with self._lock:
            if self.lost is not None or self._stop.is_set():
                return
            self.lost = why
        log.warning("lease.lost", lineage=self.lease.lineage, why=why)
        self._on_lost()


def _release(settings: Settings, lease: Lease) -> None:
    try:
        with session(settings) as connection:
            lineages.release(connection, lease)
    except DatabaseError as error:
        # The lease expires by itself; the error that led here matters more.
        log.warning("lease.not_released", lineage=lease.lineage, error=str(error))
