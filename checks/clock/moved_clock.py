"""A wall clock that processes share and that can be moved while they run; see clock.c."""

from __future__ import annotations

import os
import shutil
import struct
import subprocess
import sys
import time
from datetime import datetime, timedelta
from pathlib import Path
from typing import Self

_SOURCE = Path(__file__).with_name("clock.c")
_FORMAT = struct.Struct("=q")  # nanoseconds
_FAR_OFF = 60.0


class MovedClock:
    """The clock of all that preload ``library``: the machine's, until ``stand_at`` moves it.

    Linux only, with a C compiler; both files must stay where they were created.
    """

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.library = folder / "clock.so"
        self._offset = folder / "offset"

    @classmethod
    def make(cls, folder: Path) -> Self:
        """Compile the library into a folder; raises OSError where that is impossible."""
        if sys.platform != "linux":
            raise OSError(f"the clock can be moved on Linux only, and this is {sys.platform}")
        compiler = shutil.which("cc")
        if compiler is None:
            raise OSError("there is no C compiler `cc`: apt-get install gcc libc6-dev")
        clock = cls(folder)
        clock._offset.write_bytes(_FORMAT.pack(0))
        flags = ["-shared", "-fPIC", "-O2", "-Wall", "-Wextra", "-Werror"]
        where = f'-DOFFSET_FILE="{clock._offset}"'
        command = [compiler, *flags, where, "-o", clock.library, _SOURCE]
        subprocess.run(command, check=True, timeout=120)
        return clock

    def environment(self) -> dict[str, str]:
        """Copy this process's environment, for a child that shall use this clock."""
        given = os.environ.get("LD_PRELOAD")
        return {**os.environ, "LD_PRELOAD": " ".join(filter(None, [str(self.library), given]))}

    def move(self, by: timedelta) -> None:
        """Put the clock of all that preload the library before or behind the machine's."""
        with self._offset.open("r+b") as file:  # in place: it is mapped
            file.write(_FORMAT.pack(int(by.total_seconds() * 1e9)))

    def jump(self, by: timedelta) -> None:
        """Move the clock on from wherever it is."""
        self.move(by + timedelta(microseconds=self._nanoseconds() // 1000))

    def stand_at(self, moment: datetime) -> None:
        """Move the clock of all, and check it in this process. Raises RuntimeError."""
        machine = time.time_ns() - self._nanoseconds()
        self.move(timedelta(microseconds=(int(moment.timestamp() * 1e9) - machine) // 1000))
        if abs(time.time() - moment.timestamp()) > _FAR_OFF:
            raise RuntimeError(f"this process does not use {self.library}")

    def set_for_others(self, moment: datetime) -> None:
        """Move the clock of those that preload the library, seen by a process that does not."""
        self.move(timedelta(microseconds=(int(moment.timestamp() * 1e9) - time.time_ns()) // 1000))

    def _nanoseconds(self) -> int:
        (offset,) = _FORMAT.unpack(self._offset.read_bytes())
        return int(offset)
