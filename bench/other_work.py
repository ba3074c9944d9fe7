"""How much of the machine went to what is not this benchmark, while it measured."""

from __future__ import annotations

import os
import time

import psutil


class OtherWork:
    """Counts from when it is made; the machine's busy time less that of this process's family."""

    def __init__(self) -> None:
        self._begun = time.monotonic()
        self._before = _others()

    def __str__(self) -> str:
        """Say how much of the cores it was until now."""
        elapsed = (time.monotonic() - self._begun) * (os.cpu_count() or 1)
        return f"other work used {max(0.0, _others() - self._before) / elapsed:.0%} of the cores"


def _others() -> float:
    times = psutil.cpu_times()
    busy = sum(times) - times.idle - getattr(times, "iowait", 0.0)
    # A guest's time is in user's already.
    busy -= getattr(times, "guest", 0.0) + getattr(times, "guest_nice", 0.0)
    me = psutil.Process()
    return busy - sum(_used(one) for one in (me, *me.children(recursive=True)))


def _used(process: psutil.Process) -> float:
    """Return a process's seconds, with those of its children that ended."""
    try:
        return float(sum(process.cpu_times()[:4]))
    except psutil.NoSuchProcess:
        return 0.0
