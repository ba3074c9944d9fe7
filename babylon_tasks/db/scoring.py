"""The scoring claim: taken, kept, ended or given back by compare-and-set, never by trust."""

from __future__ import annotations

from collections.abc import Mapping

from msgspec import Struct, structs

from babylon_tasks.db import events, reward_versions
from babylon_tasks.db.session import Connection
from babylon_tasks.db.spool import Spool
from babylon_tasks.db.sql import execute, fetch_all, fetch_one, fetch_value, fetch_values, statement
from babylon_tasks.errors import StaleLease, WindowNotFound
from babylon_tasks.event_kinds import EventKind
from babylon_tasks.records import Outcome
from babylon_tasks.settings import Settings
from babylon_tasks.states import WindowState, check_window


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


class Standing(Struct, frozen=True):
    """Why there is nothing to claim: where the window stands."""

    state: WindowState
    reason: str | None


class Bet(Struct, frozen=True):
    """The market of a bet: ``kind`` is ``market`` or ``stock``, ``name`` its id or ticker."""

    kind: str
    name: str


class Result(Struct, frozen=True):
    """What one scoring run found."""

    state: WindowState
    reason: str | None
    trajectories: int
    agents: int
    scored: int
    used: int  # of those: used by steps under an earlier reward version
    rejected: dict[str, int]
    reward_mean: float | None
    reward_std: float | None
    profit_mean: float | None
    right_share: float | None
    waits_for: int  # markets of its bets without an outcome yet


class _Locked(Struct, frozen=True):
    """A window whose row is locked; ``reward_version`` is the one to be made."""

    state: WindowState
    reason: str | None
    attempts: int
    reward_version: int
    held_out: bool
    expected: int | None
    expired: bool


class _Grade(Struct, frozen=True):
    trajectory_id: str
    content_hash: str | None
    version: str
    reward: float


def claim(
    connection: Connection, window: str, owner: str, settings: Settings, *, actor: str
) -> Claim | Standing:
    """Take a sealed window, or one whose claimant fell silent; raises WindowNotFound.

    ``owner`` must be new for every claim: with the attempts it is the fence.
    """
    with connection.transaction():
        row = fetch_one(connection, "scoring.lock_window", _Locked, window=window)
        if row is None:
            raise WindowNotFound(
                f"no window {window} in training.windows; `babylon-tasks windows list` lists them"
            )
        state = row.state
        if state is WindowState.SCORING and row.expired:
            check_window(state, WindowState.SEALED, window)  # what the lost claim should have done
            detail = {"attempts": row.attempts}
            events.record(
                connection, EventKind.CLAIM_LOST, actor=actor, window=window, detail=detail
            )
            state = WindowState.SEALED
            if row.attempts >= settings.max_attempts:
                return _give_up(connection, window, row.attempts, actor)
        if state is not WindowState.SEALED:
            return Standing(state, row.reason)
        check_window(state, WindowState.SCORING, window)
        attempts = fetch_value(
            connection,
            "scoring.claim",
            int,
            window=window,
            owner=owner,
            lease=settings.lease_seconds,
        )
        return Claim(
            window=window,
            owner=owner,
            attempts=row.attempts if attempts is None else attempts,
            reward_version=row.reward_version,
            held_out=row.held_out,
            expected=row.expected,
        )


def renew(connection: Connection, held: Claim, settings: Settings) -> None:
    """Push the lease's end out; raises StaleLease if the claim is no longer ours."""
    _guarded(connection, "scoring.renew", held, lease=settings.lease_seconds)


def finish(
    connection: Connection,
    held: Claim,
    result: Result,
    scores: Spool,
    rejections: Spool,
    bets: Mapping[Bet, Outcome],
    settings: Settings,
    actor: str,
) -> None:
    """Write everything of one run in one transaction, or nothing; raises StaleLease.

    ``bets`` maps the markets of bets to the outcomes that were used. Where one has changed since,
    the window is marked to be scored anew.
    """
    check_window(WindowState.SCORING, result.state, held.window)
    with connection.transaction():
        # Before any row's lock, in the order in which copying outcomes takes them.
        execute(connection, "outcomes.take_part")
        # Then the fence: without the claim not one row is written.
        columns = structs.asdict(result) | {
            "rejected": sum(result.rejected.values()),
            "reward_version": held.reward_version,
            "waits": result.waits_for > 0,
            "wait_seconds": settings.outcome_wait_hours * 3600,
        }
        _guarded(connection, "scoring.finish", held, **columns)
        scores.pour(connection, statement("scoring.copy_scores"))
        rejections.pour(connection, statement("scoring.copy_rejections"))
        execute(connection, "scoring.forget_bets", window=held.window)
        with connection.cursor() as cursor:
            cursor.executemany(
                statement("scoring.insert_bet"),
                [
                    {
                        "window": held.window,
                        "kind": bet.kind,
                        "name": bet.name,
                        "yes": known.yes,
                        "change": known.change,
                    }
                    for bet, known in bets.items()
                ],
            )
        reward_versions.mark_scored(connection, held.window)
        detail = structs.asdict(result) | {
            "attempts": held.attempts,
            "reward_version": held.reward_version,
        }
        events.record(
            connection, EventKind(result.state), actor=actor, window=held.window, detail=detail
        )


def consumed(connection: Connection, window: str) -> frozenset[str]:
    """The trajectories of a window that steps have used, in any lineage."""
    return frozenset(fetch_values(connection, "scoring.consumed", str, window=window))


def grades(connection: Connection, window: str) -> dict[tuple[str, str, str], float]:
    """A judge's grades under earlier reward versions, by (trajectory, content hash, version)."""
    return {
        (one.trajectory_id, one.content_hash, one.version): one.reward
        for one in fetch_all(connection, "scoring.grades", _Grade, window=window)
        if one.content_hash is not None
    }


def may_wait(connection: Connection, window: str, settings: Settings) -> bool:
    """Whether a window is young enough to wait for outcomes."""
    wait_seconds = settings.outcome_wait_hours * 3600
    over = fetch_value(
        connection, "scoring.wait_is_over", bool, window=window, wait_seconds=wait_seconds
    )
    return over is False


def release(
    connection: Connection, held: Claim, why: str, settings: Settings, *, actor: str
) -> WindowState:
    """Give the window back after a failure, or fail it after the last one; raises StaleLease."""
    spent = held.attempts >= settings.max_attempts
    state = WindowState.FAILED if spent else WindowState.SEALED
    check_window(WindowState.SCORING, state, held.window)
    delay = settings.retry_delay_seconds * 2 ** min(held.attempts - 1, 10)
    reason = f"scoring failed {held.attempts} times, last: {why}" if spent else None
    if reason is not None and held.reward_version > 1:
        reason += f"; its rewards of version {held.reward_version - 1} are kept"
    with connection.transaction():
        _guarded(
            connection,
            "scoring.release",
            held,
            state=state,
            reason=reason,
            delay=None if spent else delay,
        )
        detail = {"error": why, "attempts": held.attempts, "state": state}
        events.record(
            connection, EventKind.SCORING_FAILED, actor=actor, window=held.window, detail=detail
        )
    return state


def _give_up(connection: Connection, window: str, attempts: int, actor: str) -> Standing:
    check_window(WindowState.SEALED, WindowState.FAILED, window)
    reason = f"{attempts} scoring claims were lost: their workers died or fell silent"
    execute(connection, "scoring.give_up", window=window, reason=reason)
    detail = {"reason": reason, "attempts": attempts}
    events.record(connection, EventKind.FAILED, actor=actor, window=window, detail=detail)
    return Standing(WindowState.FAILED, reason)


def _guarded(connection: Connection, name: str, held: Claim, **parameters: object) -> None:
    guard = {"window": held.window, "attempts": held.attempts, "owner": held.owner}
    if execute(connection, name, **parameters, **guard) != 1:
        raise StaleLease(
            f"window {held.window}: scoring attempt {held.attempts} lost its claim to a newer one; "
            "its work is discarded, nothing needs to be done"
        )
