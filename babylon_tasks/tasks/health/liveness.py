"""Decide whether this process is stuck, and whether it could do its work now, for its probes.

A worker's event loop and beat's scheduler mark each turn here, and each try to reach Redis. Nothing
here waits but for the checks, each of which has a bound. A worker whose broker is down must not be
restarted for it: a restart would not bring Redis back, and would end the trainer that agents are
using.
"""

from __future__ import annotations

import time
from collections.abc import Callable

from babylon_tasks.tasks.health.bounded_check import BoundedCheck

STALE_SECONDS = 60.0


class Pulse:
    """The last turn, and whether messages can arrive; written by one thread, read by another."""

    def __init__(self) -> None:
        self.connected = False
        self.interruption = "not connected to Redis"  # why, while it is not connected
        self._last = time.monotonic()

    def turn(self) -> None:
        """Mark a turn of the loop."""
        self._last = time.monotonic()

    def interrupt(self, why: str) -> None:
        """Note that messages cannot arrive, and why; trying again is a turn as well."""
        self.connected = False
        self.interruption = f"not connected to Redis: {why}"
        self.turn()

    @property
    def age(self) -> float:
        """Return the seconds since the last turn."""
        return time.monotonic() - self._last


class Probe:
    """The answers of ``/livez`` and ``/readyz``: the status, and a line that explains it.

    ``redis`` says why Redis takes no messages, ``others`` what else the work needs, ``stuck`` which
    other thread or process is stuck, from memory; ``remark`` what is to be known of a ready one.
    """

    def __init__(
        self,
        pulse: Pulse,
        redis: BoundedCheck,
        *others: BoundedCheck,
        stuck: Callable[[], str | None] = lambda: None,
        remark: Callable[[], str | None] = lambda: None,
    ) -> None:
        self._pulse = pulse
        self._redis = redis
        self._others = others
        self._stuck = stuck
        self._remark = remark
        self._redis_refused: float | None = None

    def alive(self) -> tuple[bool, str]:
        """Return False only where something has stopped and Redis is not the cause."""
        stuck = self._stuck()
        if stuck is not None:
            return False, stuck
        age = self._pulse.age
        if age <= STALE_SECONDS:
            return True, f"last turn {age:.0f} s ago"
        if self._waits_for_redis():
            return True, f"last turn {age:.0f} s ago: waiting for Redis"
        return False, f"the main loop stopped {age:.0f} s ago although Redis answers"

    def ready(self) -> tuple[bool, str]:
        """Check that this process could do its work now."""
        for check in (self._redis, *self._others):  # all at once: together they take as one
            check.begin()
        alive, text = self.alive()
        if not alive:
            return False, text
        reasons = [self._of_redis(), *(check.answer() for check in self._others)]
        wrong = "; ".join(why for why in reasons if why is not None)
        if wrong:
            return False, wrong
        remark = self._remark()
        return True, "ready" if remark is None else f"ready; {remark}"

    def _of_redis(self) -> str | None:
        why = self._redis.answer()  # one small write; beat keeps no connection
        if why is not None:
            return f"Redis takes no messages: {why}"
        return None if self._pulse.connected else self._pulse.interruption  # it was so just now

    def _waits_for_redis(self) -> bool:
        # The next try comes a while after Redis is back: 30 s at most.
        now = time.monotonic()
        if self._redis.answer() is not None:
            self._redis_refused = now
        return self._redis_refused is not None and now - self._redis_refused <= STALE_SECONDS
