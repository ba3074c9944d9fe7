"""Whose fault an error is: only the window's own uses up its attempts."""

from __future__ import annotations

import errno
import signal
import socket

import httpx
import openai
import psycopg.errors as postgres
import pytest
import requests
from safetensors import SafetensorError

from babylon_tasks.errors import (
    BackendUnavailable,
    BrokerUnavailable,
    DatabaseUnavailable,
    MigrationError,
    NotInstalled,
    ScoringFailed,
    SettingsError,
    StaleLease,
    TrainerDied,
    TrainingError,
)
from babylon_tasks.faults import Fault, fault_of, fault_of_exit

ASKED = httpx.Request("POST", "https://api.example/v1/training/jobs")


def answered(status: int) -> openai.APIStatusError:
    """What openai's client raises at a status."""
    answer = httpx.Response(status, request=ASKED)
    kind = openai.InternalServerError if status >= 500 else openai.APIStatusError
    return kind("the server's words", response=answer, body=None)


CASES = [
    (ZeroDivisionError("a scorer's bug"), Fault.WINDOW),
    (postgres.UniqueViolation("scores_pkey"), Fault.WINDOW),
    (postgres.InvalidTextRepresentation("not a number"), Fault.WINDOW),
    (ScoringFailed("the scorer failed"), Fault.WINDOW),
    (TrainingError("no gradient step"), Fault.WINDOW),
    (TrainerDied("exited with code 1"), Fault.WINDOW),
    (RuntimeError("shapes cannot be multiplied"), Fault.WINDOW),
    (OSError("without a number"), Fault.WINDOW),
    (OSError(errno.EHOSTUNREACH, "No route to host"), Fault.CONNECTION_LOST),
    (OSError(errno.ENETUNREACH, "Network is unreachable"), Fault.CONNECTION_LOST),
    (OSError(errno.ETIMEDOUT, "Connection timed out"), Fault.CONNECTION_LOST),
    (socket.gaierror(socket.EAI_NONAME, "Name or service not known"), Fault.CONNECTION_LOST),
    (TimeoutError("without a number"), Fault.CONNECTION_LOST),
    (ConnectionResetError(errno.ECONNRESET, "reset by peer"), Fault.CONNECTION_LOST),
    (httpx.ReadTimeout("nothing came"), Fault.CONNECTION_LOST),
    (httpx.ConnectError("refused"), Fault.CONNECTION_LOST),
    (requests.ConnectionError("refused"), Fault.CONNECTION_LOST),
    (requests.ReadTimeout("nothing came"), Fault.CONNECTION_LOST),
    (openai.APIConnectionError(request=ASKED), Fault.CONNECTION_LOST),
    (openai.APITimeoutError(request=ASKED), Fault.CONNECTION_LOST),
    (answered(503), Fault.SERVICE_REFUSES),
    (answered(500), Fault.SERVICE_REFUSES),
    (answered(429), Fault.SERVICE_REFUSES),
    (answered(402), Fault.SERVICE_REFUSES),
    (answered(401), Fault.MISCONFIGURED),
    (answered(403), Fault.MISCONFIGURED),
    (answered(400), Fault.WINDOW),
    (
        httpx.HTTPStatusError("bad", request=ASKED, response=httpx.Response(502)),
        Fault.SERVICE_REFUSES,
    ),
    (OSError(errno.ENOSPC, "No space left on device"), Fault.DISK_FULL),
    (OSError(errno.EDQUOT, "Disk quota exceeded"), Fault.DISK_FULL),
    (OSError(errno.EFBIG, "File too large"), Fault.DISK_FULL),
    (SafetensorError("I/O error: No space left on device (os error 28)"), Fault.DISK_FULL),
    (RuntimeError("PytorchStreamWriter failed writing file data/0"), Fault.DISK_FULL),
    (
        RuntimeError("[enforce fail at inline_container.cc] . unexpected pos 2 vs 1"),
        Fault.DISK_FULL,
    ),
    (SafetensorError("incomplete metadata, file not fully covered"), Fault.FILE_DAMAGED),
    (RuntimeError("PytorchStreamReader failed finding central directory"), Fault.FILE_DAMAGED),
    (EOFError("Ran out of input"), Fault.FILE_DAMAGED),
    (PermissionError(errno.EACCES, "Permission denied"), Fault.PERMISSION),
    (OSError(errno.EROFS, "Read-only file system"), Fault.PERMISSION),
    (postgres.InsufficientPrivilege("permission denied for table"), Fault.PERMISSION),
    (MemoryError(), Fault.OUT_OF_MEMORY),
    (RuntimeError("DefaultCPUAllocator: can't allocate memory"), Fault.OUT_OF_MEMORY),
    (RuntimeError("CUDA out of memory. Tried to allocate 2 GiB"), Fault.OUT_OF_MEMORY),
    (RuntimeError("No CUDA GPUs are available"), Fault.NO_GPU),
    (RuntimeError("Found no NVIDIA driver on your system"), Fault.NO_GPU),
    (ModuleNotFoundError("No module named 'art'"), Fault.NOT_INSTALLED),
    (NotInstalled("pip install"), Fault.NOT_INSTALLED),
    (BackendUnavailable("no GPU"), Fault.MISCONFIGURED),
    (SettingsError("DATABASE_URL"), Fault.MISCONFIGURED),
    (MigrationError("run migrate"), Fault.SCHEMA),
    (postgres.UndefinedColumn("group_key"), Fault.SCHEMA),
    (postgres.UndefinedTable("scores"), Fault.SCHEMA),
    (postgres.DiskFull("could not extend file"), Fault.DATABASE_FULL),
    (postgres.ReadOnlySqlTransaction("cannot execute UPDATE"), Fault.DATABASE_REFUSES),
    (postgres.TooManyConnections("sorry, too many clients"), Fault.DATABASE_REFUSES),
    (postgres.CannotConnectNow("starting up"), Fault.CONNECTION_LOST),
    (postgres.AdminShutdown("terminating connection"), Fault.CONNECTION_LOST),
    (DatabaseUnavailable("no answer"), Fault.CONNECTION_LOST),
    (postgres.LockNotAvailable("lock timeout"), Fault.LOCK_TIMEOUT),
    (postgres.DeadlockDetected("deadlock"), Fault.LOCK_TIMEOUT),
    (StaleLease("superseded"), Fault.LEASE_LOST),
    (BrokerUnavailable("OOM command not allowed"), Fault.BROKER_REFUSES),
    (TrainingError("of the trainer's pipe", fault=Fault.NO_GPU), Fault.NO_GPU),
]


@pytest.mark.parametrize(("error", "fault"), CASES, ids=lambda case: str(case)[:40])
def test_an_error_says_whose_fault_it_is(error: Exception, fault: Fault) -> None:
    assert fault_of(error) is fault
    assert fault.uses_up_attempts is (fault is Fault.WINDOW)


def test_what_an_error_was_raised_from_counts_as_well() -> None:
    caused = ScoringFailed("scoring failed")
    caused.__cause__ = OSError(errno.ENOSPC, "No space left on device")
    assert fault_of(caused) is Fault.DISK_FULL


@pytest.mark.parametrize(
    ("number", "fault"),
    [
        (signal.SIGKILL, Fault.TRAINER_KILLED),
        (signal.SIGTERM, Fault.TRAINER_KILLED),
        (signal.SIGBUS, Fault.DISK_FULL),
        (signal.SIGSEGV, Fault.WINDOW),
        (signal.SIGABRT, Fault.WINDOW),
    ],
)
def test_a_trainer_killed_from_outside_is_nobodys_fault_and_a_crash_may_be_the_windows(
    number: signal.Signals, fault: Fault
) -> None:
    assert fault_of_exit(number) is fault
    killed = number is signal.SIGKILL
    assert fault_of_exit(number, memory_was_short=True) is (
        Fault.OUT_OF_MEMORY if killed else fault
    )
