"""A disk of a test's own size that a test can fill: a tmpfs in namespaces of the user's."""

from __future__ import annotations

import os
import shutil
import subprocess
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from types import TracebackType
from typing import Self

_MEBIBYTE = 1 << 20
_HOLD = 'mount -t tmpfs -o "size=$0m" none "$1" && echo mounted && exec sleep infinity'


class SmallDisk:
    """A tmpfs mounted on a folder; only what starts with ``command`` before it sees the disk.

    Needs no root, but util-linux and a kernel that lets users make namespaces: RuntimeError.
    """

    def __init__(self, folder: Path, mebibytes: int) -> None:
        folder.mkdir(parents=True, exist_ok=True)
        self._holder = subprocess.Popen(
            ["unshare", "-Urm", "sh", "-c", _HOLD, str(mebibytes), str(folder)],
            stdout=subprocess.PIPE,
        )
        assert self._holder.stdout is not None
        if self._holder.stdout.readline() != b"mounted\n":
            self._holder.wait()
            raise RuntimeError("users may not mount in namespaces of their own on this machine")
        self._folder = folder

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self._holder.kill()
        self._holder.communicate()

    @property
    def command(self) -> list[str]:
        """What a command is begun with that shall see the disk."""
        target = str(self._holder.pid)
        nsenter = shutil.which("nsenter")
        assert nsenter is not None, "needs util-linux"
        return [nsenter, "--target", target, "--user", "--mount", "--preserve-credentials", "--"]

    def seen(self, path: Path) -> Path:
        """Where a path on the disk is for those that do not see the disk."""
        return Path(f"/proc/{self._holder.pid}/root{path}")

    @contextmanager
    def full(self) -> Iterator[None]:
        """No byte is free until the block ends."""
        filling = self.seen(self._folder) / ".filling"
        with filling.open("wb") as file:
            for size in (_MEBIBYTE, os.sysconf("SC_PAGE_SIZE")):
                _take(file.fileno(), size)
        try:
            yield
        finally:
            filling.unlink()


def _take(file: int, size: int) -> None:
    while True:
        try:
            os.posix_fallocate(file, os.fstat(file).st_size, size)
        except OSError:
            return
