"""Whose fault a failure is: the only place that decides it.

Only a fault of the window itself uses up one of its attempts. After any other the window waits
where it was, and is tried again when the environment may have recovered.
"""

from __future__ import annotations

import errno
import re
import signal
import socket
from enum import StrEnum


class Fault(StrEnum):
    """What failed. The values are stored and cross the trainer's pipe, so they never change."""

    WINDOW = "window"
    # Transient: the next attempt may succeed at once.
    CONNECTION_LOST = "connection_lost"
    LOCK_TIMEOUT = "lock_timeout"
    LEASE_LOST = "lease_lost"
    TRAINER_KILLED = "trainer_killed"
    INTERRUPTED = "interrupted"
    # The environment's: no attempt can succeed until somebody or something mends it.
    DISK_FULL = "disk_full"
    DATABASE_FULL = "database_full"
    DATABASE_REFUSES = "database_refuses"
    BROKER_REFUSES = "broker_refuses"
    SERVICE_REFUSES = "service_refuses"  # W&B's, a judge's: overloaded, or out of order
    SCHEMA = "schema"
    PERMISSION = "permission"
    FILE_DAMAGED = "file_damaged"
    OUT_OF_MEMORY = "out_of_memory"
    NO_GPU = "no_gpu"
    NOT_INSTALLED = "not_installed"
    MISCONFIGURED = "misconfigured"
    TRAINER_CANNOT_START = "trainer_cannot_start"

    @property
    def uses_up_attempts(self) -> bool:
        """Whether it counts as an attempt of the window."""
        return self is Fault.WINDOW

    @property
    def may_be_memory(self) -> bool:
        """Whether a smaller step may escape it: not every kill for want of memory is counted."""
        return self in (Fault.OUT_OF_MEMORY, Fault.TRAINER_KILLED)


_ERRNO = {
    errno.ENOSPC: Fault.DISK_FULL,
    errno.EDQUOT: Fault.DISK_FULL,
    errno.EFBIG: Fault.DISK_FULL,  # a limit on the size of files
    errno.EACCES: Fault.PERMISSION,
    errno.EPERM: Fault.PERMISSION,
    errno.EROFS: Fault.PERMISSION,
    errno.EIO: Fault.FILE_DAMAGED,
    errno.ENOMEM: Fault.OUT_OF_MEMORY,
    errno.EMFILE: Fault.OUT_OF_MEMORY,
    errno.ENFILE: Fault.OUT_OF_MEMORY,
    errno.ECONNRESET: Fault.CONNECTION_LOST,
    errno.ECONNREFUSED: Fault.CONNECTION_LOST,
    errno.EPIPE: Fault.CONNECTION_LOST,
    errno.ECONNABORTED: Fault.CONNECTION_LOST,
    errno.ETIMEDOUT: Fault.CONNECTION_LOST,
    errno.EHOSTUNREACH: Fault.CONNECTION_LOST,
    errno.EHOSTDOWN: Fault.CONNECTION_LOST,
    errno.ENETUNREACH: Fault.CONNECTION_LOST,
    errno.ENETDOWN: Fault.CONNECTION_LOST,
    errno.ENETRESET: Fault.CONNECTION_LOST,
    errno.EADDRNOTAVAIL: Fault.CONNECTION_LOST,
}
# Postgres's codes, https://www.postgresql.org/docs/current/errcodes-appendix.html; the longest
# prefix decides.
_SQLSTATE = {
    "08": Fault.CONNECTION_LOST,
    "57P": Fault.CONNECTION_LOST,  # shut down, crashed, starting
    "25P03": Fault.CONNECTION_LOST,  # ended while idle in a transaction
    "40": Fault.LOCK_TIMEOUT,  # deadlock, serialization
    "55P03": Fault.LOCK_TIMEOUT,
    "57014": Fault.LOCK_TIMEOUT,  # statement_timeout, or cancelled by an administrator
    "53": Fault.DATABASE_REFUSES,  # 53300: too many connections
    "53100": Fault.DATABASE_FULL,
    "58": Fault.DATABASE_REFUSES,  # its own input and output
    "25006": Fault.DATABASE_REFUSES,  # read only
    "28": Fault.DATABASE_REFUSES,
    "3D": Fault.DATABASE_REFUSES,
    "42P01": Fault.SCHEMA,
    "42703": Fault.SCHEMA,
    "42883": Fault.SCHEMA,
    "3F000": Fault.SCHEMA,
    "42501": Fault.PERMISSION,
    "XX": Fault.DATABASE_REFUSES,  # corrupted
}
# Classes of torch, safetensors, pickle and clients of HTTP, by name: they are not imported here.
_CLASSES = {
    "TransportError": Fault.CONNECTION_LOST,  # httpx: connecting, reading, writing, timeouts
    "APIConnectionError": Fault.CONNECTION_LOST,  # openai, litellm; timeouts too
    "CommError": Fault.CONNECTION_LOST,  # wandb
    "ClientConnectionError": Fault.CONNECTION_LOST,  # aiohttp
    "ConnectionError": Fault.CONNECTION_LOST,  # requests
    "Timeout": Fault.CONNECTION_LOST,
    "OutOfMemoryError": Fault.OUT_OF_MEMORY,
    "UnpicklingError": Fault.FILE_DAMAGED,
    "BadZipFile": Fault.FILE_DAMAGED,
    "SafetensorError": Fault.FILE_DAMAGED,
}
# Status codes of HTTP. Others, as 400 and 404, are about what was sent.
_STATUS = {
    401: Fault.MISCONFIGURED,
    402: Fault.SERVICE_REFUSES,  # until somebody pays: no credit is left, or a cap is reached
    403: Fault.MISCONFIGURED,
    407: Fault.MISCONFIGURED,
    408: Fault.CONNECTION_LOST,
    429: Fault.SERVICE_REFUSES,
}
_OS_ERROR = re.compile(r"\(os error ([0-9]+)\)")  # as Rust's libraries write it
_TEXTS = (
    (re.compile(r"out of memory|can't allocate memory|not enough memory"), Fault.OUT_OF_MEMORY),
    (
        re.compile(r"PytorchStreamWriter failed|unexpected pos|No space left on device"),
        Fault.DISK_FULL,
    ),
    (re.compile(r"PytorchStreamReader failed|unexpected EOF"), Fault.FILE_DAMAGED),
    (re.compile(r"CUDA|NVIDIA"), Fault.NO_GPU),
)


def fault_of(error: BaseException) -> Fault:
    """Decide whose fault an error is, by itself or else by what it was raised from. PURE."""
    seen: BaseException | None = error
    while seen is not None:
        found = getattr(seen, "fault", None) or _by_kind(seen)
        if isinstance(found, Fault) and found is not Fault.WINDOW:
            return found
        seen = seen.__cause__
    return Fault.WINDOW


def fault_of_exit(signal_number: int, *, memory_was_short: bool = False) -> Fault:
    """Decide whose fault it is that a signal ended a process. PURE.

    SIGKILL is also what the kernel sends for want of memory; ``memory_was_short``: it has sent one
    to some process meanwhile. SIGBUS is also sent when a file that is mapped into memory, as packed
    rows are, has no room on its disk (mmap(2)). A crash (SIGSEGV, SIGABRT, ...) may be due to what
    the process was given.
    """
    if signal_number == signal.SIGBUS:
        return Fault.DISK_FULL
    if signal_number == signal.SIGKILL and memory_was_short:
        return Fault.OUT_OF_MEMORY
    outside = (signal.SIGHUP, signal.SIGINT, signal.SIGKILL, signal.SIGTERM)
    return Fault.TRAINER_KILLED if signal_number in outside else Fault.WINDOW


def _by_kind(error: BaseException) -> Fault | None:
    state = getattr(error, "sqlstate", None)
    if isinstance(state, str):
        lengths = range(len(state), 1, -1)
        return next((_SQLSTATE[state[:n]] for n in lengths if state[:n] in _SQLSTATE), None)
    status = _status(error)
    if status is not None:
        return Fault.SERVICE_REFUSES if status >= 500 else _STATUS.get(status)
    match error:
        case socket.gaierror() | TimeoutError() | ConnectionError():
            return _ERRNO.get(error.errno or 0, Fault.CONNECTION_LOST)
        case MemoryError():
            return Fault.OUT_OF_MEMORY
        case ImportError():
            return Fault.NOT_INSTALLED
        case EOFError():
            return Fault.FILE_DAMAGED
        case OSError() if error.errno is not None:
            # Missing, or a folder in a file's place: no window names files.
            return _ERRNO.get(error.errno, Fault.FILE_DAMAGED)
        case _:
            return _by_text(error)


def _status(error: BaseException) -> int | None:
    """Find what a server answered: openai has it at the error, httpx and requests below."""
    answer = error if hasattr(error, "status_code") else getattr(error, "response", None)
    status = getattr(answer, "status_code", None)
    return status if isinstance(status, int) else None


def _by_text(error: BaseException) -> Fault | None:
    text, name = str(error), type(error).__name__
    numbered = _OS_ERROR.search(text)
    if numbered is not None and int(numbered[1]) in _ERRNO:
        return _ERRNO[int(numbered[1])]
    for kind in type(error).__mro__:
        if kind.__name__ in _CLASSES:
            return _CLASSES[kind.__name__]
    if type(error) is not RuntimeError and name != "AcceleratorError":  # torch's, of any kind
        return None
    return next((fault for pattern, fault in _TEXTS if pattern.search(text)), None)
