"""Whether a checkpoint's server is worth asking, where something else could answer at once."""

from __future__ import annotations

import math
import time

FAILURES = 5
PAUSE_SECONDS = 10.0
# A client that gives up sooner says nothing about the server.
SILENT_SECONDS = 5.0


class Breaker:
    """Open after ``FAILURES`` in a row; then one request in ``PAUSE_SECONDS`` tries again."""

    def __init__(self) -> None:
        self._failures = 0
        self._again_at = 0.0
        self._answered_at = -math.inf

    def admits(self) -> bool:
        """Decide whether to ask; one that is admitted reports how it ended."""
        if self._failures < FAILURES:
            return True
        if time.monotonic() < self._again_at:
            return False
        self._again_at = time.monotonic() + PAUSE_SECONDS
        return True

    def succeeded(self) -> None:
        """Note an answer."""
        self._failures = 0
        self._answered_at = time.monotonic()

    def failed(self) -> None:
        """Note that there was none."""
        self._failures += 1
        if self._failures == FAILURES:
            self._again_at = time.monotonic() + PAUSE_SECONDS

    def given_up(self, asked_at: float) -> None:
        """Note that a client left before there was an answer; ``asked_at`` is monotonic.

        That counts as a failure where nobody has had an answer since then: a server that hangs
        outlasts its clients' patience, and would never be noticed. Where others are answered, the
        client was only in a hurry.
        """
        silent = time.monotonic() - asked_at >= SILENT_SECONDS
        if silent and self._answered_at < asked_at:
            self.failed()
