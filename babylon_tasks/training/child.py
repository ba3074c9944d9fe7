"""A child process of a worker: started, written to, read from, ended with all that it started."""

from __future__ import annotations

import os
import queue
import signal
import subprocess
import sys
import threading
import time
from contextlib import suppress
from pathlib import Path
from typing import IO, Any, Generic, TypeVar

import msgspec

T = TypeVar("T")

# Variables withheld from the child, in any case (settings are case-insensitive). The child gets
# what it needs of them through its stdin.
_KEPT_BACK = ("DATABASE_URL", "REDIS_URL", "WANDB_API_KEY", "FLOWER_", "BABYLON_")
_TAIL = 4096


class Child(Generic[T]):
    """A child that runs a module and exchanges JSON objects with us, one per line, as structs.

    It leads a process group, so its own children end with it, and Ctrl-C reaches us alone.
    ``replies`` gets its messages in order, and None when its stdout ends. ``end`` and ``running``
    are safe from any thread.
    """

    def __init__(
        self,
        module: str,
        decoder: msgspec.json.Decoder[T],
        log: IO[bytes],
        *,
        folder: Path | None = None,
    ) -> None:
        self.replies: queue.Queue[T | None] = queue.Queue()
        self._heard = time.monotonic()
        self._decoder = decoder
        self._process = subprocess.Popen(
            [sys.executable, "-m", module],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=log,
            env=child_environment(),
            cwd=folder,
            start_new_session=True,
        )
        threading.Thread(target=self._read, name=f"replies of {module}", daemon=True).start()

    @property
    def pid(self) -> int:
        """The child's process id."""
        return self._process.pid

    @property
    def running(self) -> bool:
        """Whether the child has not ended."""
        return self._process.poll() is None

    @property
    def silent_seconds(self) -> float:
        """For how long the child has written nothing."""
        return time.monotonic() - self._heard

    def send(self, message: msgspec.Struct) -> bool:
        """Write a message to the child's stdin; False if the child no longer reads."""
        stdin: Any = self._process.stdin
        try:
            stdin.write(msgspec.json.encode(message) + b"\n")
            stdin.flush()
        except (BrokenPipeError, ValueError):  # ValueError: `end` has closed it
            return False
        return True

    def wait(self, timeout: float) -> None:
        """Wait until the child has ended; raises subprocess.TimeoutExpired."""
        self._process.wait(timeout)

    def end_group(self) -> None:
        """Kill the child, if it still runs, and all that it has started."""
        with suppress(ProcessLookupError):  # they have all ended
            os.killpg(self._process.pid, signal.SIGKILL)

    def end(self) -> None:
        """Kill the child and its group if it still runs, and close its stdin."""
        if self.running:
            self.end_group()
            self._process.wait(timeout=10)
        if self._process.stdin is not None:
            with suppress(BrokenPipeError):
                self._process.stdin.close()

    def how_ended(self, timeout: float | None = None) -> str:
        """Wait for the end, and describe it for a message: "was ended by signal SIGKILL".

        Raises subprocess.TimeoutExpired.
        """
        code = self._process.wait(timeout)
        if code < 0:
            return f"was ended by signal {signal.Signals(-code).name}"
        return f"exited with code {code}"

    @property
    def ended_by_signal(self) -> int | None:
        """The signal that ended the child; None if it runs or has exited by itself."""
        code = self._process.poll()
        return -code if code is not None and code < 0 else None

    def _read(self) -> None:
        stdout: Any = self._process.stdout
        with stdout:
            for raw in stdout:
                self._heard = time.monotonic()
                try:
                    self.replies.put(self._decoder.decode(raw))
                except msgspec.DecodeError:
                    break  # the child died in the middle of a line
        self.replies.put(None)


def child_environment() -> dict[str, str]:
    """Copy the environment without our settings and secrets; ART stays off network and ``.env``."""
    inherited = {k: v for k, v in os.environ.items() if not k.upper().startswith(_KEPT_BACK)}
    return inherited | {
        "PYTHON_DOTENV_DISABLED": "1",  # else `import art` reads secrets from a .env
        "LITELLM_LOCAL_MODEL_COST_MAP": "True",  # else `import art` accesses the network
        "HF_HUB_OFFLINE": inherited.get("HF_HUB_OFFLINE", "").strip() or "1",
        "PYTHONSAFEPATH": "1",  # else a module in the data folder would be imported for its like
        "TQDM_DISABLE": "1",
        "PYTHONUNBUFFERED": "1",
    }


def last_lines(path: Path, lines: int = 3) -> str:
    """Read the end of a child's log as one line; of a log that cannot be read, why."""
    try:
        with path.open("rb") as log:
            return " | ".join(tail(log)[-lines:])
    except OSError as error:
        return f"(unreadable: {error.strerror})"


def tail(log: IO[bytes]) -> list[str]:
    """Read the last 4 KiB of a log as lines.

    Without the beginning that is a part of a line, or of a word where there is but one line: half
    a secret would not be recognised as one.
    """
    beginning = max(0, log.seek(0, os.SEEK_END) - _TAIL)
    log.seek(beginning)
    text = log.read().decode("utf-8", "replace").strip()
    if beginning:
        text = "".join(text.split("\n" if "\n" in text else None, 1)[1:])
    return text.splitlines()
