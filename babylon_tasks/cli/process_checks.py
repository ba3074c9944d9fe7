"""The checks of `doctor` on what single processes need at their start."""

from __future__ import annotations

import os
import socket
import tempfile
from collections.abc import Iterator, Mapping
from importlib.util import find_spec
from pathlib import Path

from babylon_tasks.cli.findings import Finding, finding
from babylon_tasks.settings import Settings

MAX_SKEW_SECONDS = 5.0
_LEAST_SCRATCH = 64 * 2**20
# Without CELERY_ before them; Celery makes them CELERY_BROKER_URL and so on, which we refuse.
_OF_CELERYS_COMMAND_LINE = ("BROKER_URL", "RESULT_BACKEND", "LOADER", "CONFIG_MODULE")


def flower(settings: Settings) -> Iterator[Finding]:
    """Check Flower's login and the folder of its file, where Flower is installed."""
    if find_spec("flower") is None:
        return
    oauth = bool(os.environ.get("FLOWER_AUTH", "").strip())
    yield finding(
        "flower",
        settings.flower_basic_auth is not None or oauth,
        "it has a login" if settings.flower_basic_auth or oauth else "FLOWER_BASIC_AUTH is not set",
        "set it to user:password where Flower runs, which does not start without it",
        otherwise="warn",
    )
    if settings.flower_db is not None:
        folder = settings.flower_db.absolute().parent
        yield finding(
            "flower",
            os.access(folder, os.W_OK | os.X_OK),
            f"its list of tasks is kept in {folder}",
            "let this user write there, or choose another BABYLON_FLOWER_DB; only Flower needs it",
            otherwise="warn",
        )


def celery_variables(settings: Settings) -> Iterator[Finding]:
    """Check for variables that Celery's command line takes for its own; others are refused."""
    del settings
    for name in _OF_CELERYS_COMMAND_LINE:
        if os.environ.get(name):
            todo = "unset it where beat, workers and Flower run: with it they do not start"
            yield Finding("celery", "warn", f"{name} is set, which Celery would obey", todo)


def workers(settings: Settings) -> Iterator[Finding]:
    """Check that beat runs, that a worker consumes each queue, and compare clocks."""
    del settings
    from babylon_tasks.tasks import live_workers

    found = live_workers.ask_all()
    yield finding(
        "beat",
        bool(found.beats),
        ", ".join(found.beats) or "no beat answered",
        "start one: babylon-tasks run beat",
        otherwise="warn",
    )
    for queue, names in found.workers.items():
        yield finding(
            f"queue {queue}",
            bool(names),
            ", ".join(names) or "no worker answered",
            f"start one: babylon-tasks run {'gpu' if queue.startswith('gpu') else 'cpu'}-worker",
            otherwise="warn",
        )
    yield from _clocks(found.clocks)


def _clocks(found: Mapping[str, float]) -> Iterator[Finding]:
    for worker, seconds in found.items():
        apart = abs(seconds)
        yield finding(
            "clock",
            apart <= MAX_SKEW_SECONDS,
            f"{worker}: {apart:.0f} s {'ahead of' if seconds > 0 else 'behind'} this machine"
            if apart >= 1
            else f"{worker}: as this machine's",
            "set that machine's clock (NTP): no decision depends on it, but its logs and the "
            "metric babylon_task_wait_seconds do",
            otherwise="warn",
        )


def scratch(settings: Settings) -> Iterator[Finding]:
    """Check the folder in which a worker's children count, and that files can be made at all."""
    folders = [("data folder", settings.data_dir.absolute(), "BABYLON_DATA_DIR")]
    if settings.metrics_port:
        folders.append(("temporary folder", Path(tempfile.gettempdir()), "TMPDIR"))
    for check, folder, name in folders:
        try:
            nearest = next(path for path in (folder, *folder.parents) if path.exists())
            room = os.statvfs(nearest)
        except OSError as error:  # a trainer's: `disk` says how grave that is
            todo = f"let this user reach it, or set another {name}"
            yield Finding(check, "warn", f"{folder}: {error.strerror}", todo)
            continue
        if room.f_files and not room.f_favail:
            todo = f"remove small files, or move {name}"
            yield Finding(check, "fail", f"{folder}: no inodes are free, so no file", todo)
        if check == "temporary folder":
            free = room.f_bavail * room.f_frsize
            yield finding(
                check,
                os.access(nearest, os.W_OK | os.X_OK) and free >= _LEAST_SCRATCH,
                f"{folder}: {free / 2**20:.0f} MiB free",
                f"let this user write there, free space, or set {name}: workers count there",
            )


def ports(settings: Settings) -> Iterator[Finding]:
    """Check that each address to listen on belongs to this machine and is free, or in use by us."""
    for what, host, port in (
        ("metrics", settings.metrics_host, settings.metrics_port),
        ("inference", settings.inference_host, settings.inference_port),
        ("gateway", settings.gateway_host, settings.gateway_port),
        ("flower", settings.flower_host, settings.flower_port),
        ("dashboard", settings.dashboard_host, settings.dashboard_port),
    ):
        if not port:  # any free one, or none
            continue
        why = _not_free(host, port)
        if why is not None:
            todo = f"ignore this if its process runs already; else change BABYLON_{what.upper()}_"
            yield Finding("ports", "warn", f"{what}: {why}", f"{todo}HOST or _PORT")


def _not_free(host: str, port: int) -> str | None:
    try:
        family, kind, protocol, _, address = socket.getaddrinfo(
            host, port, type=socket.SOCK_STREAM, flags=socket.AI_PASSIVE
        )[0]
        with socket.socket(family, kind, protocol) as listener:
            listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            listener.bind(address)
    except OSError as error:
        return f"port {port} on {host}: {error.strerror or error}"
    return None
