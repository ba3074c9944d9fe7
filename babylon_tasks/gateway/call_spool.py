"""Captured calls on this machine's disk until Postgres has them: files that are only appended to.

Each process has a folder of its own below the shared one, and keeps it locked. The files of a
process that is dead are taken over by another; a folder appears by one rename, locked already, so
nobody takes over one that is being made. A record is its length, its CRC-32 and its bytes: one that
a crash damaged is noticed and stepped over; where a length is none, the rest of the file is cut.

Written by one thread and read by another.
"""

from __future__ import annotations

import os
import shutil
import struct
import threading
import uuid
import zlib
from collections.abc import Sequence
from contextlib import suppress
from pathlib import Path
from typing import IO

import structlog
from msgspec import Struct

from babylon_tasks.file_lock import FileLocked, lock_file

_HEAD = struct.Struct("<II")
_FILE_BYTES = 8 * 2**20
_LOCK = "lock"
_FILES = "*.calls"
log = structlog.get_logger(__name__)


class SpooledCalls(Struct, frozen=True):
    """Records of one file, in order, up to byte ``end``; ``torn``: unreadable bytes before that.

    ``lost``: how many records those were; what follows a length that cannot be read counts as one,
    and so does a file of another process that somebody has deleted.
    """

    records: list[bytes]
    path: Path
    end: int
    torn: int = 0
    lost: int = 0


class CallSpool:
    """The files of one process; raises OSError where the folder cannot be used."""

    def __init__(self, root: Path, most: int) -> None:
        """``most``: bytes on disk from which on nothing more is taken."""
        self._most = most
        self._file_bytes = min(_FILE_BYTES, most // 4)  # space is freed by whole files
        root.mkdir(parents=True, exist_ok=True, mode=0o700)
        name = uuid.uuid4().hex
        made = root / f".{name}"
        made.mkdir(mode=0o700)
        self._root, self.folder = root, root / name
        self._lock_file: IO[str] = lock_file(made / _LOCK)
        made.rename(self.folder)
        self._mutex = threading.Lock()
        self._sizes: dict[Path, int] = {}  # of whole records
        self._queued: dict[Path, int] = {}  # records of this process's own files
        self._read: dict[Path, int] = {}  # how much of each is done with
        self._in_hand = 0  # records that the reading thread has and is not done with
        self._given_up = False
        self._number = 0
        self._writing: tuple[Path, int] | None = None
        self._unsynced = False
        self.take_over()

    @property
    def size(self) -> int:
        """Return the bytes that wait here."""
        with self._mutex:
            return sum(self._sizes.values()) - sum(self._read.values())

    @property
    def gone(self) -> bool:
        """Whether somebody has taken the folder away: nothing can be written or read."""
        return not self.folder.is_dir()

    def owns(self, path: Path) -> bool:
        """Check whether this process wrote a file, which it has not forgotten yet."""
        with self._mutex:
            return path in self._queued

    def give_up(self) -> int:
        """Give up what waits in a folder that is gone; returns how many records that loses.

        A file of another process counts as one. What is being read is not lost yet.
        """
        with self._mutex:
            self._given_up = True
            queued = sum(
                self._queued.get(path, 1)
                for path, size in self._sizes.items()
                if self._read.get(path, 0) < size
            )
            return max(0, queued - self._in_hand)

    def put_back(self) -> int:
        """End the reading of records that are not done with; returns how many that loses."""
        with self._mutex:
            lost = self._in_hand if self._given_up else 0
            self._in_hand = 0
            return lost

    def append(self, records: Sequence[bytes]) -> int:
        """Write as many of the records as there is room for, the first ones; returns how many.

        Raises OSError where the disk does not take them; then none of them is there.
        """
        self._end_full()
        with self._mutex:
            room = self._most - sum(self._sizes.values())
        fitting: list[bytes] = []
        for record in records:
            room -= _HEAD.size + len(record)
            if room < 0:
                break
            fitting.append(record)
        if fitting:
            self._write(b"".join(_framed(record) for record in fitting), len(fitting))
        return len(fitting)

    def sync(self) -> None:
        """Make what was written survive the machine; raises OSError."""
        if self._unsynced and self._writing is not None:
            os.fdatasync(self._writing[1])
        self._unsynced = False

    def next(self, most: int, most_bytes: int) -> SpooledCalls | None:
        """Read the next records that are not done with; None where there are none.

        A file that somebody has deleted is lost; of a folder that is gone nothing is, for it may
        come back. Once ``done`` or ``put_back`` ends the reading, there may be another one.
        """
        found = self._next(most, most_bytes)
        with self._mutex:
            if found is None or self._given_up:
                return None
            self._in_hand = len(found.records) + found.lost
        return found

    def _next(self, most: int, most_bytes: int) -> SpooledCalls | None:
        with self._mutex:
            files = [(path, self._read.get(path, 0), size) for path, size in self._sizes.items()]
        for path, start, end in files:
            if start < end:
                try:
                    return _read(path, start, end, most, most_bytes)
                except FileNotFoundError:
                    if self.gone:
                        return None
                    with self._mutex:
                        lost = self._queued.get(path, 1)
                    return SpooledCalls([], path, end, end - start, lost)
            self._forget_ended(path)
        return None

    def done(self, calls: SpooledCalls) -> None:
        """Do not read these again."""
        with self._mutex:
            self._in_hand = 0
            self._read[calls.path] = calls.end
            if calls.path in self._queued:
                self._queued[calls.path] -= len(calls.records) + calls.lost
        self._forget_ended(calls.path)

    def take_over(self) -> int:
        """Take the files of processes that are dead; returns how many."""
        taken = 0
        for other in sorted(self._root.iterdir()):
            if other != self.folder and not other.name.startswith("."):
                with suppress(OSError, FileLocked), lock_file(other / _LOCK):
                    for file in sorted(other.glob(_FILES)):
                        mine = self.folder / f"{other.name}-{file.name}"
                        file.rename(mine)
                        with self._mutex:
                            self._sizes[mine] = mine.stat().st_size
                        taken += 1
                    shutil.rmtree(other)
        return taken

    def close(self) -> None:
        """Give the files up, once or more often: what is left is for the next process."""
        if self._lock_file.closed:
            return
        with suppress(OSError):
            self.sync()
        if self._writing is not None:
            os.close(self._writing[1])
            self._writing = None
        if self._next(1, 1) is None:
            shutil.rmtree(self.folder, ignore_errors=True)
        self._lock_file.close()

    def _write(self, data: bytes, count: int) -> None:
        path, file = self._current()
        with self._mutex:
            before = self._sizes[path]
        try:
            view = memoryview(data)
            while view:
                view = view[os.write(file, view) :]
        except OSError:
            # Nothing may follow half a record.
            with suppress(OSError):
                os.ftruncate(file, before)
            os.close(file)
            self._writing = None
            raise
        with self._mutex:
            self._sizes[path] = before + len(data)
            self._queued[path] += count
        self._unsynced = True

    def _current(self) -> tuple[Path, int]:
        if self._writing is None:
            self._number += 1
            path = self.folder / f"{self._number:08d}.calls"
            file = os.open(path, os.O_WRONLY | os.O_APPEND | os.O_CREAT | os.O_EXCL, 0o600)
            with self._mutex:
                self._sizes[path] = self._queued[path] = 0
                self._writing = path, file
        return self._writing

    def _end_full(self) -> None:
        """Write no more to a file that is large enough; raises OSError."""
        if self._writing is None:
            return
        path, file = self._writing
        with self._mutex:
            full = self._sizes[path] >= self._file_bytes
        if full:
            self.sync()
            os.close(file)
            self._writing = None
            self._forget_ended(path)

    def _forget_ended(self, path: Path) -> None:
        """Delete a file that is done with and not written to any more.

        Both threads come here at the end of a file: whoever is second finds it forgotten.
        """
        with self._mutex:
            writing = self._writing is not None and self._writing[0] == path
            if writing or self._read.get(path, 0) < self._sizes.get(path, 1):
                return
            del self._sizes[path]
            self._read.pop(path, None)
            self._queued.pop(path, None)
        path.unlink(missing_ok=True)


def _framed(record: bytes) -> bytes:
    return _HEAD.pack(len(record), zlib.crc32(record)) + record


def _read(path: Path, start: int, end: int, most: int, most_bytes: int) -> SpooledCalls:
    records: list[bytes] = []
    place, torn, lost = start, 0, 0
    with path.open("rb") as file:
        file.seek(start)
        while place < end and len(records) < most and place - start < most_bytes:
            head = file.read(_HEAD.size)
            length, checksum = _HEAD.unpack(head) if len(head) == _HEAD.size else (0, 0)
            after = place + _HEAD.size + length
            if not length or after > end:  # where the next one begins is not known
                return SpooledCalls(records, path, end, torn + end - place, lost + 1)
            record = file.read(length)
            if zlib.crc32(record) == checksum:
                records.append(record)
            else:
                torn += after - place
                lost += 1
            place = after
    return SpooledCalls(records, path, place, torn, lost)
