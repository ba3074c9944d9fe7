"""Pause after repeated faults not caused by a window, and retry automatically."""

from __future__ import annotations

import structlog

from babylon_tasks.db import circuits
from babylon_tasks.db.session import Connection, session
from babylon_tasks.errors import DatabaseError
from babylon_tasks.faults import Fault
from babylon_tasks.mask_secrets import Mask
from babylon_tasks.settings import Settings

# Ordinary: another worker continues.
_NO_SIGN = (Fault.WINDOW, Fault.LEASE_LOST, Fault.INTERRUPTED)

log = structlog.get_logger(__name__)


def why_paused(connection: Connection, name: str, settings: Settings) -> str | None:
    """Say why nothing may be begun now; None if the circuit is closed, or this is the next try."""
    circuit = circuits.opened_by_name(connection, name)
    if circuit is None or circuits.take_try(connection, name, settings):
        return None
    return (
        f"{name} is paused after {circuit.faults} faults in a row ({circuit.fault}), last: "
        f"{circuit.reason}; it retries at {circuit.next_try_at:%F %T} UTC, or at once after "
        "`babylon-tasks circuit reset`"
    )


def count_fault(settings: Settings, name: str, fault: Fault, reason: str) -> None:
    """Count a fault that is no window's own; where Postgres takes no writes it is only logged.

    A secret in the reason is masked: it is stored, and shown by ``status``.
    """
    if fault in _NO_SIGN:
        return
    reason = Mask(settings).text(reason)
    try:
        with session(settings) as connection:
            just_opened = circuits.count_fault(connection, name, fault, reason, settings)
    except DatabaseError as error:
        log.warning("fault.not_counted", circuit=name, fault=fault, why=str(error))
        return
    if just_opened:
        log.error("circuit.opened", circuit=name, fault=fault, why=reason)


def close(settings: Settings, name: str) -> None:
    """Forget the faults, after work that has succeeded."""
    try:
        with session(settings) as connection:
            was_open = circuits.close(connection, name)
    except DatabaseError as error:
        log.warning("circuit.not_closed", circuit=name, why=str(error))
        return
    if was_open:
        log.info("circuit.closed", circuit=name)
