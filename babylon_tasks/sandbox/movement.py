"""Whether a stack still moves: on a busy machine everything takes longer, and nothing is wrong."""

from __future__ import annotations

import time
from collections.abc import Callable
from contextlib import suppress

# Little enough for a machine of which others leave a hundredth.
_WORK_SECONDS = 2.0
_LOOK_SECONDS = 10.0


class Movement:
    """How long nothing has moved: neither what is seen in rows nor the CPU time of the work.

    ``work``: CPU seconds so far; they may fall, where a process has ended.
    """

    def __init__(
        self, work: Callable[[], float], clock: Callable[[], float] = time.monotonic
    ) -> None:
        self._work = work
        self._clock = clock
        self._moved_at = self._looked_at = clock()
        self._worked = work()
        self._seen: object = None

    def still_for(self, seen: object) -> float:
        """Return for how many seconds nothing has moved, given what is seen now."""
        now = self._clock()
        if seen != self._seen:
            self._seen, self._moved_at = seen, now
        elif now - self._looked_at >= _LOOK_SECONDS:
            self._looked_at, worked = now, self._work()
            if abs(worked - self._worked) >= _WORK_SECONDS:
                self._worked, self._moved_at = worked, now
        return now - self._moved_at


def work_of_children(pid: int) -> float:
    """Sum the CPU seconds of a process's descendants that live."""
    import psutil

    total = 0.0
    with suppress(psutil.Error):
        for process in psutil.Process(pid).children(recursive=True):
            with suppress(psutil.Error):
                used = process.cpu_times()
                total += used.user + used.system
    return total
