"""Whether this process moves: what its probes answer, without a question to broker or cluster.

A worker's event loop and beat's scheduler mark each turn here. A worker whose broker is away
does not turn, and is not to be restarted for it: restarting would not bring Redis back, and
would end the trainer that agents are talking to.
"""

from __future__ import annotations

import time
from collections.abc import Callable

STALE_SECONDS = 60.0


class Pulse:
    """The last turn, and whether messages can come in; written by one thread, read by another."""

    def __init__(self) -> None:
        self.connected = False
        self._last = time.monotonic()

    def turn(self) -> None:
        """The loop has come round."""
        self._last = time.monotonic()

    @property
    def age(self) -> float:
        """Seconds since the last turn."""
        return time.monotonic() - self._last


class Probe:
    """What ``/livez`` and ``/readyz`` answer: whether it is so, and a line that says why."""

    def __init__(self, pulse: Pulse, away: Callable[[], bool], serves: Callable[[], bool]) -> None:
        self._pulse = pulse
        self._away = away
        self._serves = serves

    def alive(self) -> tuple[bool, str]:
        """False only where the loop stands still and the broker's absence does not explain it."""
        age = self._pulse.age
        if age <= STALE_SECONDS:
            return True, f"turned {age:.0f} s ago"
        if not self._pulse.connected or self._away():
            return True, f"turned {age:.0f} s ago: it waits for Redis"
        return False, f"the main loop has stood still for {age:.0f} s though Redis is there"

    def ready(self) -> tuple[bool, str]:
        """Whether work reaches it now and, where it keeps a trainer, that trainer serves."""
        alive, why = self.alive()
        if not alive:
            return False, why
        if not self._pulse.connected or self._away():  # one ping; beat holds no connection
            return False, "not connected to Redis"
        if not self._serves():
            return False, "the trainer does not serve yet"
        return True, "ready"
