"""A lock on a file for the lifetime of a process, which leaves its process id in the file."""

from __future__ import annotations

import fcntl
import os
from pathlib import Path
from typing import IO


class FileLocked(Exception):
    """Another process has the lock; ``owner`` is its process id, or "unknown"."""

    def __init__(self, owner: str) -> None:
        super().__init__(f"locked by process {owner}")
        self.owner = owner


def lock_file(path: Path) -> IO[str]:
    """Lock a file, made if need be, until the returned one is closed; raises FileLocked.

    The kernel releases the lock when the process ends, SIGKILL included.
    """
    lock = path.open("a+")
    try:
        fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        with lock:
            lock.seek(0)
            raise FileLocked(lock.read().strip() or "unknown") from None
    lock.truncate(0)
    lock.write(str(os.getpid()))
    lock.flush()
    return lock
