"""Decide whether this process makes progress, for its probes, without asking the broker.

A worker's event loop and beat's scheduler mark each turn here. A worker whose broker is down does
not turn, and must not be restarted for it: a restart would not bring Redis back, and would end
the trainer that agents are using.
"""

from __future__ import annotations

import time
from collections.abc import Callable

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
        """Note that messages cannot arrive, and why."""
        self.connected = False
        self.interruption = f"not connected to Redis: {why}"

    @property
    def age(self) -> float:
        """Return the seconds since the last turn."""
        return time.monotonic() - self._last


class Probe:
    """The answers of ``/livez`` and ``/readyz``: the status, and a line that explains it."""

    def __init__(
        self, pulse: Pulse, refusal: Callable[[], str | None], serves: Callable[[], bool]
    ) -> None:
        self._pulse = pulse
        self._refusal = refusal
        self._serves = serves

    def alive(self) -> tuple[bool, str]:
        """Return False only where the loop has stopped and Redis is not the cause."""
        age = self._pulse.age
        if age <= STALE_SECONDS:
            return True, f"last turn {age:.0f} s ago"
        if not self._pulse.connected or self._refusal() is not None:
            return True, f"last turn {age:.0f} s ago: waiting for Redis"
        return False, f"the main loop stopped {age:.0f} s ago although Redis answers"

    def ready(self) -> tuple[bool, str]:
        """Check that work can arrive and that the trainer, where there is one, serves."""
        alive, text = self.alive()
        if not alive:
            return False, text
        why = self._refusal()  # one small write; beat holds no connection
        if why is None and not self._pulse.connected:
            return False, self._pulse.interruption  # it was so a moment ago
        if why is not None:
            return False, f"Redis takes no messages: {why}"
        if not self._serves():
            return False, "the trainer does not serve yet"
        return True, "ready"
