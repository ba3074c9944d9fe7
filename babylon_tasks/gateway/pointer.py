"""What serves, read twice a second in a thread and kept in memory: requests wait for no database.

Not LISTEN: behind a pooler a notification reaches whichever client has the server's connection.
"""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Mapping, Sequence
from datetime import UTC, datetime, timedelta

import structlog
from msgspec import Struct

from babylon_tasks.arms import Arms
from babylon_tasks.db import arms, clock, promotions
from babylon_tasks.db.session import denied, session
from babylon_tasks.errors import BabylonTasksError, CheckpointNotFound
from babylon_tasks.gateway import metrics
from babylon_tasks.settings import Settings
from babylon_tasks.windows import WINDOW, window_id

POLL_SECONDS = 0.5
# Shorter than elsewhere: a half-open connection must not hide a promotion for a minute.
_SILENCE_SECONDS = 5.0
log = structlog.get_logger(__name__)


class Served(Struct, frozen=True):
    """What serves and where; ``names`` are those that checkpoints have at their server, by step.

    ``arms`` are those that count this hour, and those that will, in the order of their decisions.
    """

    step: int
    base_url: str | None
    backend: str
    names: Mapping[int, str]
    arms: Sequence[Arms] = ()


class Pointer:
    """The last pointer that Postgres gave; None before the first.

    ``also`` is called each time, for what else must be noticed without a restart.
    """

    def __init__(self, settings: Settings, also: Callable[[], None] = lambda: None) -> None:
        self.now: Served | None = None
        self._settings = settings
        self._also = also
        self._read_at = time.monotonic()
        self._ahead = timedelta()  # Postgres's clock, of this machine's
        self._reached = False
        self._trouble: str | None = None
        self._denied: str | None = None  # in Postgres's words
        self._stop = threading.Event()
        self._thread = threading.Thread(target=self._run, name="pointer", daemon=True)

    @property
    def age(self) -> float:
        """Return the seconds since the serving checkpoint was last read, or since the start."""
        return time.monotonic() - self._read_at

    def clock(self) -> datetime:
        """Return the time by Postgres's clock, which decides from which hour on arms count."""
        return datetime.now(UTC) + self._ahead

    @property
    def lacking(self) -> str | None:
        """Say what a replica needs before agents are sent to it; None where nothing.

        A lineage that nobody has served lacks nothing: other servers answer. Where Postgres is and
        as whom it was asked is only in the log: this text is shown without a key.
        """
        if self._reached:
            return None
        if self._denied is not None:
            return (
                f"Postgres denies what this gateway reads: {self._denied}; its owner has to grant "
                "that to the user of DATABASE_URL, by `babylon-tasks migrate --grant-to USER`; the "
                "gateway's log names both"
            )
        return "this gateway has not reached Postgres yet, so no checkpoint is known; see its log"

    def start(self) -> None:
        """Read once, and go on in a thread."""
        self.poll()
        self._thread.start()

    def stop(self) -> None:
        """Stop reading, and wait for the thread, which may be waiting for Postgres."""
        self._stop.set()
        self._thread.join(timeout=2 * _SILENCE_SECONDS)

    def poll(self) -> None:
        """Read the serving checkpoint; if that fails, the last one stays and the log says why."""
        try:
            self._read()
        except BabylonTasksError as error:
            self._reached |= isinstance(error, CheckpointNotFound)
            self._denied = denied(error)
            if str(error) != self._trouble:
                serves = None if self.now is None else self.now.step
                log.warning("pointer.outdated", serves=serves, why=str(error))
            self._trouble = str(error)
        except Exception:  # logged with its traceback, and read again: nothing else reads it
            log.exception("pointer.failed")
        else:
            self._trouble = None
            self._reached = True
        metrics.POINTER_AGE.set(self.age)

    def _run(self) -> None:
        while not self._stop.wait(POLL_SECONDS):
            self.poll()
            try:
                self._also()
            except Exception:  # nothing else calls it
                log.exception("pointer.also_failed")

    def _read(self) -> None:
        lineage = self._settings.lineage
        with session(self._settings, patience=0, silence=_SILENCE_SECONDS) as connection:
            asked = datetime.now(UTC)
            there = clock.of_hours(connection)
            # It was read in between: a reply that came late must not set the clock back as much.
            self._ahead = there - asked - (datetime.now(UTC) - asked) / 2
            row = promotions.serving(connection, lineage)
            names = promotions.servable(connection, lineage)
            # From the hour before: what was asked at its end may be routed after it.
            found = arms.since(connection, lineage, window_id(self.clock() - WINDOW))
        before, self.now = self.now, Served(row.step, row.base_url, row.backend, names, found)
        self._read_at = time.monotonic()
        if before is None or before.step != row.step:
            log.info("pointer.moved", lineage=lineage, serves=row.step, address=row.base_url)
