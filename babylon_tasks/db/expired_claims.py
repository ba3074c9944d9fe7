"""Recover scoring claims of dead workers."""

from __future__ import annotations

from msgspec import Struct

from babylon_tasks.db.session import Connection
from babylon_tasks.db.sql import fetch_all, fetch_value
from babylon_tasks.db.window_transitions import move
from babylon_tasks.settings import Settings
from babylon_tasks.states import EXPIRE, WindowState


class _Expired(Struct, frozen=True):
    window: str
    attempts: int


def any_expired(connection: Connection, window: str | None = None) -> bool:
    """Check whether a claim, or this window's, is over its lease.

    A write by nature: after it Postgres is known to take them. Raises DatabaseRefuses otherwise.
    """
    found = fetch_value(connection, "expired_claims.any_expired", bool, window=window)
    return found is not None


def release_expired(
    connection: Connection, settings: Settings, *, limit: int, actor: str
) -> tuple[list[str], list[str]]:
    """Take windows back from dead scorers; returns (to be scored again, failed for good)."""
    again: list[str] = []
    failed: list[str] = []
    for claim in fetch_all(connection, "expired_claims.expired_scoring", _Expired, limit=limit):
        state, _ = expire_claim(connection, claim.window, claim.attempts, settings, actor=actor)
        (failed if state == WindowState.FAILED else again).append(claim.window)
    return again, failed


def expire_claim(
    connection: Connection, window: str, attempts: int, settings: Settings, *, actor: str
) -> tuple[WindowState, str | None]:
    """End the expired claim of a locked window: sealed again, or failed after the last attempt.

    The state and its reason.
    """
    target, reason = WindowState.SEALED, None
    if attempts >= settings.max_attempts:
        target = WindowState.FAILED
        reason = f"{attempts} scoring claims were lost: their workers died or fell silent"
    detail = {"attempts": attempts}
    move(connection, window, EXPIRE, target, actor=actor, reason=reason, detail=detail)
    return target, reason
