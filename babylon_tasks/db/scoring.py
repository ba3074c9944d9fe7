"""The scoring claim: taken, renewed, ended and released by compare-and-set."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from msgspec import Struct, structs

from babylon_tasks.db import events, reward_versions, windows
from babylon_tasks.db.expired_claims import expire_claim
from babylon_tasks.db.session import Connection
from babylon_tasks.db.spool import Spool
from babylon_tasks.db.sql import execute, fetch_all, fetch_one, fetch_value, fetch_values, statement
from babylon_tasks.db.window_transitions import change
from babylon_tasks.errors import StaleLease
from babylon_tasks.faults import Fault
from babylon_tasks.records import Outcome, Rejection, ScoringResult
from babylon_tasks.settings import Settings
from babylon_tasks.states import CLAIM, FINISH, GIVE_BACK, WindowState, WindowTransition


class Claim(Struct, frozen=True):
    """The right to score a window: valid while owner and attempts are still in its row.

    ``reward_version`` is the one being made; it becomes the window's when scoring ends.
    """

    window: str
    owner: str
    attempts: int
    reward_version: int
    held_out: bool
    expected: int | None  # trajectories counted at the seal


class Unclaimed(Struct, frozen=True):
    """Why there is nothing to claim: the window's state."""

    state: WindowState
    reason: str | None


class ScoreRow(Struct, frozen=True, kw_only=True):
    """A row of ``training.scores``, but for window and reward version; ``components`` is JSON."""

    trajectory_id: str
    agent_id: str
    content_hash: str
    group_key: str
    reward: float
    components: str
    scorer: str
    scorer_version: str


class Bet(Struct, frozen=True):
    """The market of a bet: ``kind`` is ``market`` or ``stock``, ``name`` its id or ticker."""

    kind: str
    name: str


class _Locked(Struct, frozen=True):
    """A window whose row is locked; ``reward_version`` is the one to be made."""

    state: WindowState
    reason: str | None
    attempts: int
    reward_version: int
    held_out: bool
    expected: int | None
    expired: bool


class _Taken(Struct, frozen=True):
    attempts: int


class _Ended(Struct, frozen=True):
    window: str


class _Grade(Struct, frozen=True):
    trajectory_id: str
    content_hash: str | None
    version: str
    reward: float


def claim(
    connection: Connection, window: str, owner: str, settings: Settings, *, actor: str
) -> Claim | Unclaimed:
    """Claim a sealed window, or one whose claimant is silent; raises WindowNotFound.

    ``owner`` must be new for every claim: owner and attempts identify it.
    """
    with connection.transaction():
        row = fetch_one(connection, "scoring.lock_window", _Locked, window=window)
        if row is None:
            raise windows.not_found(window)
        state, reason = row.state, row.reason
        if state == WindowState.SCORING and row.expired:
            state, reason = expire_claim(connection, window, row.attempts, settings, actor=actor)
        if state != WindowState.SEALED:
            return Unclaimed(state, reason)
        taken = change(
            connection,
            window,
            CLAIM,
            WindowState.SCORING,
            _Taken,
            owner=owner,
            lease=settings.lease_seconds,
        )
        assert taken is not None  # noqa: S101  # sealed, and locked by this transaction
        return Claim(window, owner, taken.attempts, row.reward_version, row.held_out, row.expected)


def renew(connection: Connection, claimed: Claim, settings: Settings) -> None:
    """Extend the lease; raises StaleLease if the claim is no longer ours."""
    if not execute(connection, "scoring.renew", **_guard(claimed), lease=settings.lease_seconds):
        raise _stale(claimed)


def finish(
    connection: Connection,
    claimed: Claim,
    result: ScoringResult,
    scores: Spool[ScoreRow],
    rejections: Spool[Rejection],
    bets: Mapping[Bet, Outcome],
    settings: Settings,
    actor: str,
) -> None:
    """Write everything of one run in one transaction, or nothing; raises StaleLease.

    ``bets`` maps the markets of bets to the outcomes that were used. Where one has changed since,
    the window is marked to be scored anew.
    """
    with connection.transaction():
        # Before any row's lock, in the order in which copying outcomes takes them.
        execute(connection, "outcomes.take_part")
        # Then the claim: without it not one row is written.
        columns = structs.asdict(result) | {
            "rejected": sum(result.rejected.values()),
            "reward_version": claimed.reward_version,
            "waits": result.waits_for > 0,
            "wait_seconds": settings.outcome_wait_hours * 3600,
        }
        detail = structs.asdict(result) | {
            "attempts": claimed.attempts,
            "reward_version": claimed.reward_version,
        }
        _end(connection, claimed, FINISH, result.state, actor, detail, columns)
        scores.copy_into(connection, "scoring.copy_scores")
        rejections.copy_into(connection, "scoring.copy_rejections")
        execute(connection, "scoring.forget_bets", window=claimed.window)
        with connection.cursor() as cursor:
            cursor.executemany(
                statement("scoring.insert_bet"),
                [
                    {
                        "window": claimed.window,
                        "kind": bet.kind,
                        "name": bet.name,
                        "yes": known.yes,
                        "change": known.change,
                    }
                    for bet, known in bets.items()
                ],
            )
        reward_versions.mark_scored(connection, claimed.window)


def consumed(connection: Connection, window: str) -> frozenset[str]:
    """List the trajectories of a window that steps have used, in any lineage."""
    return frozenset(fetch_values(connection, "scoring.consumed", str, window=window))


def grades(connection: Connection, window: str) -> dict[tuple[str, str, str], float]:
    """Read a judge's grades under earlier versions, by (trajectory, content hash, version)."""
    return {
        (one.trajectory_id, one.content_hash, one.version): one.reward
        for one in fetch_all(connection, "scoring.grades", _Grade, window=window)
        if one.content_hash is not None
    }


def may_wait(connection: Connection, window: str, settings: Settings) -> bool:
    """Check whether a window is young enough to wait for outcomes."""
    wait_seconds = settings.outcome_wait_hours * 3600
    over = fetch_value(
        connection, "scoring.wait_is_over", bool, window=window, wait_seconds=wait_seconds
    )
    return over is False


def release(
    connection: Connection,
    claimed: Claim,
    why: str,
    settings: Settings,
    *,
    actor: str,
    fault: Fault = Fault.WINDOW,
) -> WindowState:
    """Release the window after a failure, or fail it after the last one; raises StaleLease.

    Unless the fault was the window's own, the attempt does not count.
    """
    exhausted = fault.uses_up_attempts and claimed.attempts >= settings.max_attempts
    target = WindowState.FAILED if exhausted else WindowState.SEALED
    delay = settings.retry_delay_seconds * 2 ** min(claimed.attempts - 1, 10)
    reason = f"scoring failed {claimed.attempts} times, last: {why}" if exhausted else None
    if reason is not None and claimed.reward_version > 1:
        reason += f"; its rewards of version {claimed.reward_version - 1} are kept"
    columns = {
        "reason": reason,
        "delay": None if exhausted else delay,
        "counted": int(fault.uses_up_attempts),
    }
    detail = {"error": why, "fault": fault, "attempts": claimed.attempts, "state": target}
    with connection.transaction():
        _end(connection, claimed, GIVE_BACK, target, actor, detail, columns)
    return target


def _end(
    connection: Connection,
    claimed: Claim,
    transition: WindowTransition,
    target: WindowState,
    actor: str,
    detail: Mapping[str, Any],
    columns: Mapping[str, Any],
) -> None:
    parameters = {**columns, **_guard(claimed)}
    window = parameters.pop("window")
    if change(connection, window, transition, target, _Ended, **parameters) is None:
        raise _stale(claimed)
    kind = transition.targets[target]
    if kind is not None:
        events.record(connection, kind, actor=actor, window=window, detail=detail)


def _guard(claimed: Claim) -> dict[str, Any]:
    return {"window": claimed.window, "attempts": claimed.attempts, "owner": claimed.owner}


def _stale(claimed: Claim) -> StaleLease:
    return StaleLease(
        f"window {claimed.window}: scoring attempt {claimed.attempts} lost its claim to a newer "
        "one; its work is discarded, nothing needs to be done"
    )
