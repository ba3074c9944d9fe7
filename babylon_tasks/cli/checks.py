"""The checks of `doctor`: each is a function that returns one or more findings."""

from __future__ import annotations

import shutil
import tempfile
from collections.abc import Callable, Iterator
from datetime import UTC, datetime
from importlib.util import find_spec
from typing import Any, cast

import redis

from babylon_tasks.cli.babylon_checks import babylon, rows
from babylon_tasks.cli.backend_checks import backend
from babylon_tasks.cli.findings import CheckResult, Finding, finding
from babylon_tasks.cli.gateway_checks import captures
from babylon_tasks.cli.process_checks import (
    MAX_SKEW_SECONDS,
    celery_variables,
    flower,
    ports,
    scratch,
    workers,
)
from babylon_tasks.cli.promotion_checks import promotion
from babylon_tasks.cli.serving_checks import serving
from babylon_tasks.cli.tls_checks import postgres_tls, redis_tls
from babylon_tasks.counted import counted
from babylon_tasks.db import circuits, lineages, migrate, reports, tripwires
from babylon_tasks.db.session import Connection, address, session
from babylon_tasks.db.session_values import other_values, session_values
from babylon_tasks.errors import BabylonTasksError, NotInstalled, SettingsError
from babylon_tasks.settings import Settings

_OLDEST_POSTGRES = 140_000
_OLDEST_REDIS = (6, 2)
_REDIS_SECONDS = 3
_LOW_DISK = 5 * 2**30
_NO_DISK = 2**29

Check = Callable[[Settings], Iterator[Finding]]


def postgres(settings: Settings) -> Iterator[Finding]:
    """Check the server, its clock, Babylon, the schema, and the lineage in the settings."""
    with session(settings, patience=3) as connection:
        server = reports.server(connection)
        yield finding(
            "postgres",
            server.version_number >= _OLDEST_POSTGRES,
            f"{server.version} at {address(settings)}",
            "use PostgreSQL 14 or newer",
        )
        yield _session(connection, settings)
        yield from postgres_tls(settings, connection)
        skew = abs((datetime.now(UTC) - server.clock).total_seconds())
        yield finding(
            "clock",
            skew <= MAX_SKEW_SECONDS,
            f"{skew:.1f} s between this machine and Postgres",
            "set this machine's clock (NTP): Postgres's clock decides when an hour is over",
            otherwise="warn",
        )
        beside = list(babylon(connection))
        yield from beside
        if any(finding.outcome == "fail" for finding in beside):
            return
        entries = migrate.status(connection)
        for state, outcome, todo in (
            ("pending", "fail", "run `babylon-tasks migrate`"),
            ("changed", "fail", "restore the file; put the change into a new migration"),
            ("unknown", "warn", "the database is newer than this code: update babylon-tasks"),
        ):
            names = [entry.name for entry in entries if entry.state == state]
            if names:
                detail = f"{counted(len(names), 'migration')} {state}: {', '.join(names)}"
                yield Finding("schema", cast("CheckResult", outcome), detail, todo)
        if any(entry.state in ("pending", "changed") for entry in entries):
            return
        yield Finding("schema", "ok", f"{len(entries)} migrations applied")
        yield from rows(connection)
        for circuit in circuits.opened(connection):
            yield Finding(
                "circuit",
                "fail",
                f"{circuit.name} has been paused since {circuit.opened_at:%F %T} UTC "
                f"({circuit.fault}): {circuit.reason}",
                "fix the cause; it retries automatically, or at once after `babylon-tasks circuit "
                "reset`",
            )
        lineage = lineages.get(connection, settings.lineage)
        if lineage is None:
            yield Finding("lineage", "ok", f"{settings.lineage} does not exist yet")
        else:
            yield finding(
                "lineage",
                lineage.base_model == settings.base_model,
                f"{settings.lineage} learns on {lineage.base_model}, step {lineage.head_step}",
                f"the settings say {settings.base_model}: set BABYLON_BASE_MODEL back, "
                "or BABYLON_LINEAGE to a new name",
            )
            if lineage.trouble is not None:
                todo = "restore its files from a backup; until then windows wait"
                yield Finding("checkpoints", "fail", lineage.trouble, todo)
        yield from captures(connection, settings)
        yield from _tripped(connection, settings)
        yield from promotion(connection, settings)


def _tripped(connection: Connection, settings: Settings) -> Iterator[Finding]:
    found = tripwires.still_open(connection, settings.lineage, limit=100)
    kept = sorted({one.window for one in found})
    if kept:
        kinds = ", ".join(sorted({one.kind for one in found}))
        yield Finding(
            "tripwires",
            "warn",
            f"not trained on: {counted(len(kept), 'window')}, the oldest {kept[0]}: {kinds}",
            "`babylon-tasks tripwires list --open` has the evidence; fix the cause, or let them "
            "through with `babylon-tasks tripwires accept WINDOW`; docs/tripwires.md",
        )


def _session(connection: Connection, settings: Settings) -> Finding:
    """Check, as any statement would find it, what every one relies on."""
    wanted, others = session_values(settings), other_values(connection, settings)
    wrong = [f"{name} is {value}, not {wanted[name]}" for name, value in others.items()]
    right = f"{wanted['timezone']}, search path {wanted['search_path']}"
    return finding(
        "session",
        not others,
        "; ".join(wrong) or right + (", through a pooler" if settings.pooled else ""),
        "find out what overrides it: a pooler, or a setting of the role",
    )


def broker(settings: Settings) -> Iterator[Finding]:
    """Check Redis or what speaks its protocol: reachable, recent, writable, never evicting."""
    from babylon_tasks.tasks.redis_connection import open_client
    from babylon_tasks.tasks.redis_health import describe, refusal

    try:
        with open_client(settings, _REDIS_SECONDS, decode_responses=True) as client:
            about: dict[str, Any] = client.info()
    except redis.RedisError as error:
        answer, _, todo = describe(error).rpartition("; ")
        yield Finding("redis", "fail", answer, todo)
        return
    name = about.get("server_name", "redis")
    version = str(about.get("valkey_version", about.get("redis_version", "0")))
    numbers = tuple(int(part) for part in version.split(".")[:2] if part.isdecimal())
    yield finding("redis", numbers >= _OLDEST_REDIS, f"{name} {version}", "use 6.2 or newer")
    yield from redis_tls(settings)
    refused = refusal(settings, patience=_REDIS_SECONDS)
    yield finding(
        "redis writes",
        refused is None,
        refused or "accepted",
        "until then no message is sent; workers wait, and need no restart",
    )
    policy = about.get("maxmemory_policy", "unknown")
    yield finding(
        "redis memory",
        policy == "noeviction",
        f"maxmemory-policy {policy}",
        "set maxmemory-policy noeviction: any other drops queued messages when memory is short",
    )
    yield finding(
        "redis disk",
        bool(about.get("aof_enabled")),
        f"appendonly {'yes' if about.get('aof_enabled') else 'no'}",
        "set appendonly yes; without it a restart delays work by up to "
        "BABYLON_UPKEEP_INTERVAL_SECONDS, and loses no data",
        otherwise="warn",
    )


def disk(settings: Settings) -> Iterator[Finding]:
    """Check that the data folder is writable and has room for checkpoints."""
    folder = settings.data_dir.absolute()
    nearest = folder
    try:
        nearest = next(path for path in (folder, *folder.parents) if path.exists())
        with tempfile.TemporaryFile(dir=nearest):
            pass
    except OSError as error:
        # Beat and the CPU workers store nothing: their image has neither ART nor a folder.
        trains = find_spec("art") is not None
        todo = "choose another BABYLON_DATA_DIR, or let this user write there"
        yield Finding(
            "data folder",
            "fail" if trains else "warn",
            f"{nearest}: {error.strerror}",
            todo if trains else "only the gpu-worker needs it; ignore this elsewhere",
        )
        return
    free = shutil.disk_usage(nearest).free
    yield finding(
        "data folder",
        free >= _LOW_DISK,
        f"{folder}: {free / 2**30:.1f} GiB free",
        "free disk space, or move BABYLON_DATA_DIR",
        otherwise="warn" if free >= _NO_DISK else "fail",
    )


def scorers(settings: Settings) -> Iterator[Finding]:
    """Check the scorers, and ART if one of them asks a judge; only queue cpu needs them."""
    from babylon_tasks.scoring.choice import Scorers
    from babylon_tasks.training import judge

    try:
        found = Scorers(settings)
    except SettingsError as error:
        todo = "correct the setting, or the class, where a cpu-worker runs"
        yield Finding("scorer", "fail", str(error), todo)
        return
    if found.needs_judge:
        try:
            judge.require()
        except NotInstalled as error:
            todo = "install it where a cpu-worker runs; ignore this elsewhere"
            yield Finding("scorer", "warn", str(error), todo)
            return
    special = [f"{who}: {name}" for who, name in sorted(settings.archetype_scorers.items())]
    yield Finding("scorer", "ok", ", ".join([settings.scorer, *special]))


CHECKS: tuple[tuple[str, Check], ...] = (
    ("postgres", postgres),
    ("redis", broker),
    ("scorer", scorers),
    ("data folder", disk),
    ("data folder", scratch),
    ("checkpoint", serving),
    ("backend", backend),
    ("flower", flower),
    ("ports", ports),
    ("celery", celery_variables),
    ("workers", workers),
)


def examine(settings: Settings) -> Iterator[Finding]:
    """Run all checks, in order; one that cannot be run is a finding as well."""
    for name, check in CHECKS:
        try:
            yield from check(settings)
        except BabylonTasksError as error:
            yield Finding(name, "fail", str(error), "see the line above, then run doctor again")
        except OSError as error:
            todo = "let this user reach it, or correct what names it"
            yield Finding(name, "fail", f"{error.filename or name}: {error.strerror}", todo)
