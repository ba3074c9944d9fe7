"""A disk of a test's own size that a test can fill: a tmpfs in namespaces of the user's."""

from __future__ import annotations

import shutil
import subprocess
import threading
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from types import TracebackType
from typing import Any, Self

COMMAND_SECONDS = 60  # the longest that a command may take
_HOLD = 'mount -t tmpfs -o "size=$0m" none "$1" && echo mounted && exec sleep infinity'
_FILL = 'cat /dev/zero > "$0" 2> /dev/null'


class SmallDisk:
    """A tmpfs mounted on a folder; only what starts with ``command`` before it sees the disk.

    Needs no root, but util-linux and a kernel that lets users make namespaces: RuntimeError.
    ``options``: of ``subprocess``, for a disk of another user, whom alone it lets write.
    """

    def __init__(
        self, folder: Path, mebibytes: int, options: Mapping[str, Any] | None = None
    ) -> None:
        folder.mkdir(parents=True, exist_ok=True)
        self._options = dict(options or {})
        self._holder = subprocess.Popen(
            ["unshare", "-Urm", "sh", "-c", _HOLD, str(mebibytes), str(folder)],
            stdout=subprocess.PIPE,
            **self._options,
        )
        assert self._holder.stdout is not None
        hanging = threading.Timer(COMMAND_SECONDS, self._holder.kill)
        hanging.start()
        mounted = self._holder.stdout.readline() == b"mounted\n"
        hanging.cancel()
        if not mounted:
            self._holder.wait(COMMAND_SECONDS)
            raise RuntimeError("users may not mount in namespaces of their own on this machine")
        self.folder = folder

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self._holder.kill()
        self._holder.communicate(timeout=COMMAND_SECONDS)

    @property
    def command(self) -> list[str]:
        """What a command is begun with that shall see the disk."""
        target = str(self._holder.pid)
        nsenter = shutil.which("nsenter")
        assert nsenter is not None, "needs util-linux"
        return [nsenter, "--target", target, "--user", "--mount", "--preserve-credentials", "--"]

    def run(self, *command: str | Path) -> subprocess.CompletedProcess[bytes]:
        """Run a command that sees the disk, as its user; that it fails is not held against it."""
        given = [*self.command, *map(str, command)]
        return subprocess.run(given, check=False, timeout=COMMAND_SECONDS, **self._options)

    def seen(self, path: Path) -> Path:
        """Where a path on the disk is for those that do not see the disk."""
        return Path(f"/proc/{self._holder.pid}/root{path}")

    @contextmanager
    def full(self) -> Iterator[None]:
        """No byte is free until the block ends."""
        filling = self.folder / ".filling"
        self.run("sh", "-c", _FILL, filling)
        try:
            yield
        finally:
            self.run("rm", filling)
