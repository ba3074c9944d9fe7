"""One server process of the sandbox: its folder, its owner, its start and its end."""

from __future__ import annotations

import errno
import secrets
import signal
import socket
import subprocess
import time
from abc import ABC, abstractmethod
from collections.abc import Sequence
from contextlib import suppress
from itertools import chain
from pathlib import Path
from typing import IO, ClassVar, Self

import psutil

from babylon_tasks.errors import SandboxError
from babylon_tasks.sandbox.bundled_binaries import Programs
from babylon_tasks.sandbox.folder_lock import own
from babylon_tasks.sandbox.server_user import child_options, own_folder, write_private

HOST = "127.0.0.1"
# Below 32768, where Linux's ports for outgoing connections begin.
_PORTS = range(20_000, 32_768)
_returned: set[int] = set()
_START_SECONDS = 60.0
_STOP_SECONDS = 30.0
_ATTEMPTS = 10


def free_port(preferred: int = 0) -> int:
    """Find a TCP port that is free at this moment; the preferred one, if it is free.

    Another one stays free until its server starts, seconds later: it is never returned twice in
    this process, and outgoing connections do not get it. Raises SandboxError if there is none.
    """
    if preferred and _is_free(preferred):
        return preferred
    first = secrets.randbelow(len(_PORTS))
    for port in chain(_PORTS[first:], _PORTS[:first]):
        if port not in _returned and _is_free(port):
            _returned.add(port)
            return port
    raise SandboxError(f"no TCP port from {_PORTS[0]} to {_PORTS[-1]} is free on {HOST}")


def _is_free(port: int) -> bool:
    with socket.socket() as listener:
        # Else old connections of the last listener would block the port for a minute.
        listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            listener.bind((HOST, port))
        except OSError as error:
            if error.errno not in (errno.EADDRINUSE, errno.EACCES):
                raise
            return False
    return True


class ServerProcess(ABC):
    """A server on 127.0.0.1 that keeps its data in ``data_dir`` and its password beside them.

    ``port`` 0 reuses the last port if that is free, else takes any, and keeps it over ``restart``.
    When run as root, the server itself runs as ``nobody``; where that user cannot reach
    ``data_dir``, its data go to ``home`` in /var/tmp. A folder has one owner at a time: a server
    left behind by a dead owner is shut down at the next start.
    """

    name: ClassVar[str]
    stop_signal: ClassVar[signal.Signals] = signal.SIGTERM

    def __init__(self, data_dir: Path, port: int = 0) -> None:
        self.home = own_folder(data_dir, self.name)
        self._chosen_port = port
        self.port = port
        self._process: subprocess.Popen[bytes] | None = None
        self._lock: IO[str] | None = None
        self._log_offset = 0
        self.programs = Programs(self.home)

    @property
    @abstractmethod
    def url(self) -> str:
        """Where to connect, password included: never log it."""

    @abstractmethod
    def _prepare(self) -> None:
        """Prepare the data and stop a server that a dead owner left behind."""

    @abstractmethod
    def _command(self) -> Sequence[str | Path]:
        """Build the command line, for ``self.port``."""

    @abstractmethod
    def _accepts(self) -> bool:
        """Check whether the server answers."""

    @property
    def running(self) -> bool:
        """Whether the process is alive."""
        return self._process is not None and self._process.poll() is None

    @property
    def pid(self) -> int:
        """Process id of the running server; raises SandboxError."""
        if self._process is None:
            raise SandboxError(f"the embedded {self.name} in {self.home} is not started")
        return self._process.pid

    def start(self) -> Self:
        """Start and wait until it answers; raises SandboxError with the end of the server's log."""
        if self.running:
            return self
        self._lock = own(self.home, f"the embedded {self.name}")
        try:
            self._prepare()
            for attempt in range(1, _ATTEMPTS + 1):
                self.port = self.port or free_port(self._last_port() if attempt == 1 else 0)
                if self._launched(last=attempt == _ATTEMPTS):
                    return self
                # Another process took the port, or the killed server's children are still ending.
                self.port = self._chosen_port
                time.sleep(0.2)
        except BaseException:
            self._end(signal.SIGKILL)
            self._disown()
            raise
        raise AssertionError("unreachable: the last attempt starts or raises")

    def stop(self) -> None:
        """Shut down in order and wait; a server that does not end is killed and reported."""
        try:
            if not self._end(self.stop_signal):
                self._end(signal.SIGKILL)
                raise SandboxError(
                    f"the embedded {self.name} in {self.home} did not stop within "
                    f"{_STOP_SECONDS:.0f} s and was killed; its log: {self._log_end()}"
                )
        finally:
            self._disown()

    def kill(self) -> None:
        """End it and its children at once, with no shutdown; the data remain as they are."""
        if self._process is not None and self._process.poll() is None:
            children = psutil.Process(self._process.pid).children(recursive=True)
            self._process.kill()  # first, or it would start new children
            for child in children:
                with suppress(psutil.NoSuchProcess):  # ended by itself without its parent
                    child.kill()
        self._end(signal.SIGKILL)

    def restart(self) -> None:
        """Stop it if it runs, and start it again on the same port and data."""
        port = self.port
        self.stop()
        self.port = self._chosen_port = port
        self.start()

    def __enter__(self) -> Self:
        return self.start()

    def __exit__(self, *_: object) -> None:
        self.stop()

    def _launched(self, *, last: bool) -> bool:
        """Run the command until it answers (True) or ends early (False, or SandboxError)."""
        (self.home / "last-port").write_text(str(self.port), "ascii")
        log_path = self.home / f"{self.name}.log"
        with log_path.open("ab") as log:
            self._log_offset = log.tell()
            self._process = subprocess.Popen(
                [str(part) for part in self._command()],
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=subprocess.STDOUT,
                start_new_session=True,  # Ctrl-C in the terminal is for us; we stop it cleanly
                **child_options(self.home),
            )
        deadline = time.monotonic() + _START_SECONDS
        while time.monotonic() < deadline:
            if self._process.poll() is not None:
                tail = self._log_end()
                taken = self._chosen_port == 0 and "in use" in tail
                if not last and (taken or "shared memory block" in tail):
                    return False
                raise SandboxError(
                    f"the embedded {self.name} in {self.home} ended at its start with exit code "
                    f"{self._process.returncode}; its log ({log_path}): {tail}"
                )
            if self._accepts():
                return True
            time.sleep(0.02)
        raise SandboxError(
            f"the embedded {self.name} in {self.home} did not answer on port {self.port} within "
            f"{_START_SECONDS:.0f} s; its log ({log_path}): {self._log_end()}"
        )

    def _end(self, how: signal.Signals) -> bool:
        process = self._process
        if process is None:
            return True
        if process.poll() is None:
            process.send_signal(how)
            try:
                process.wait(_STOP_SECONDS)
            except subprocess.TimeoutExpired:
                return False
        self._process = None
        return True

    def _disown(self) -> None:
        if self._lock is not None:
            self._lock.close()
            self._lock = None

    def _last_port(self) -> int:
        """Where it listened last; 0 before the first start."""
        path = self.home / "last-port"
        return int(path.read_text("ascii")) if path.exists() else 0

    def _password(self) -> str:
        """Read the password, generated at the first start."""
        path = self.home / "password"
        if not path.exists():
            write_private(path, secrets.token_hex(24))
        return path.read_text("ascii")

    def _log_end(self) -> str:
        with (self.home / f"{self.name}.log").open("rb") as log:
            log.seek(self._log_offset)
            return log.read().decode(errors="replace")[-2000:].strip()
