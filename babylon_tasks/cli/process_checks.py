"""The checks of `doctor` on what single processes need at their start."""

from __future__ import annotations

import os
import socket
from collections.abc import Iterator
from importlib.util import find_spec

from babylon_tasks.cli.findings import Finding, finding
from babylon_tasks.settings import Settings


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


def ports(settings: Settings) -> Iterator[Finding]:
    """Check that each address to listen on belongs to this machine and is free, or in use by us."""
    for what, host, port in (
        ("metrics", settings.metrics_host, settings.metrics_port),
        ("inference", settings.inference_host, settings.inference_port),
        ("flower", settings.flower_host, settings.flower_port),
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
