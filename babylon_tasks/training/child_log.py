"""The streams of a child process: its stdout is for replies alone, all else goes to its log.

The log's disk may be full. Then its lines are lost, and nothing else: a request that fails for
want of room must still be able to say so. Nor may the log fill its disk: it is bounded.
"""

from __future__ import annotations

import io
import os
import shutil
import sys
import traceback
from pathlib import Path
from typing import IO

from babylon_tasks.faults import Fault, fault_of

LOG_BYTES = 10 * 2**20  # from here on a log is moved


def bound_log(path: Path) -> None:
    """Move what a log of LOG_BYTES contains to ``NAME.1``, in the place of what is there.

    All that write to it append, also another lineage's trainer: the file stays, and they go on at
    its beginning. What they write between the copy and the cut is lost. Raises OSError, unless the
    disk is too full for the copy: the log hardly grows then.
    """
    if not path.exists() or path.stat().st_size < LOG_BYTES:
        return
    try:
        shutil.copyfile(path, path.with_name(f"{path.name}.1"))
    except OSError as error:
        if fault_of(error) is not Fault.DISK_FULL:
            raise
        return
    os.truncate(path, 0)


class Tracebacks:
    """The tracebacks of what anybody can make fail again: one for each kind of error in a row.

    A kind is a class of errors, raised at one place.
    """

    def __init__(self) -> None:
        self._last: tuple[object, ...] | None = None

    def print(self, error: BaseException) -> None:
        """Print an error's, unless the one before it was of its kind."""
        kind = type(error), *((at.filename, at.lineno) for at in _last_place(error))
        if kind != self._last:
            traceback.print_exception(error)
        self._last = kind

    def end_row(self) -> None:
        """Note that nothing failed: the next error is printed, whatever its kind."""
        self._last = None


def _last_place(error: BaseException) -> list[traceback.FrameSummary]:
    return traceback.extract_tb(error.__traceback__)[-1:]


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
