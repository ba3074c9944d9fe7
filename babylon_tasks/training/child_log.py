"""The streams of a child process: its stdout is for replies alone, all else goes to its log.

The log's disk may be full. Then its lines are lost, and nothing else: a request that fails for
want of room must still be able to say so.
"""

from __future__ import annotations

import io
import os
import sys
from typing import IO

from babylon_tasks.faults import Fault, fault_of


def take_stdout() -> IO[bytes]:
    """Return the stdout that the process was started with, to which nobody else can write now.

    Side effect: what prints to file descriptor 1, ``sys.stdout`` or ``sys.stderr`` writes to the
    log, which is file descriptor 2.
    """
    ours = os.fdopen(os.dup(1), "wb")
    os.dup2(2, 1)
    log = _Log(2, "w", closefd=False)
    sys.stdout = sys.stderr = io.TextIOWrapper(log, errors="backslashreplace", write_through=True)
    return ours


class _Log(io.FileIO):
    def write(self, data: bytes) -> int:  # type: ignore[override]  # all that TextIOWrapper passes
        try:
            return super().write(data)
        except OSError as error:
            if fault_of(error) is not Fault.DISK_FULL:
                raise
            return len(data)
