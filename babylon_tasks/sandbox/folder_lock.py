"""Let only one process at a time own a folder."""

from __future__ import annotations

import fcntl
import os
from pathlib import Path
from typing import IO

from babylon_tasks.errors import SandboxError


def own(folder: Path, what: str) -> IO[str]:
    """Own the folder until the returned file is closed; raises SandboxError naming the owner."""
    # The kernel releases the lock when the process ends, SIGKILL included.
    lock = (folder / "owner.lock").open("a+")
    try:
        fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        lock.seek(0)
        owner = lock.read().strip() or "unknown"
        lock.close()
        raise SandboxError(
            f"{what} in {folder} is in use by the running process {owner}; "
            "stop that process or choose another data folder"
        ) from None
    lock.truncate(0)
    lock.write(str(os.getpid()))
    lock.flush()
    return lock
