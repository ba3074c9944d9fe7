"""Whether a checkpoint's server is worth asking, where something else could answer at once."""

from __future__ import annotations

import time

FAILURES = 5
PAUSE_SECONDS = 10.0


class Breaker:
    """Open after ``FAILURES`` in a row; then one request in ``PAUSE_SECONDS`` tries again."""

    def __init__(self) -> None:
        self._failures = 0
        self._again_at = 0.0

    def admits(self) -> bool:
        """Decide whether to ask; one that is admitted reports ``succeeded`` or ``failed``."""
        if self._failures < FAILURES:
            return True
        if time.monotonic() < self._again_at:
            return False
        self._again_at = time.monotonic() + PAUSE_SECONDS
        return True

    def succeeded(self) -> None:
        """Note an answer."""
        self._failures = 0

    def failed(self) -> None:
        """Note that there was none."""
        self._failures += 1
        if self._failures == FAILURES:
            self._again_at = time.monotonic() + PAUSE_SECONDS
