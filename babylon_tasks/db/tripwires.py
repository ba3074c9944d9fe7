"""What tripped before a step, who accepted it, and the figures of windows that steps took.

``training.tripwires`` and ``training.accepted_tripwires`` are only added to. A window is tripped,
and no step of the lineage takes it, while a row of policy ``hold`` about its newest rewards has no
acceptance.
"""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime
from typing import Any

from msgspec import Struct
from psycopg.types.json import Jsonb

from babylon_tasks.db import events, lineages
from babylon_tasks.db.lineages import Lease
from babylon_tasks.db.session import Connection
from babylon_tasks.db.sql import execute, fetch_all, fetch_value, fetch_values
from babylon_tasks.event_kinds import EventKind
from babylon_tasks.records import Outcome, Outcomes
from babylon_tasks.tripwires import Trip, TripwirePolicy


class FoundTrips(Struct, frozen=True):
    """What tripped in a window, each with the policy applied, and the window's figures.

    ``figures`` are None where later windows cannot be compared with them.
    """

    window: str
    reward_version: int
    trips: tuple[tuple[Trip, TripwirePolicy], ...]
    figures: dict[str, Any] | None


class TripRow(Struct, frozen=True):
    """A row of ``training.tripwires`` with its acceptance.

    ``step``: the checkpoint of the step that took the window all the same; ``target_step``: the one
    that was to be made. ``open``: it keeps its window from training now.
    """

    id: int
    lineage: str
    window: str
    reward_version: int
    step: int | None
    target_step: int
    kind: str
    policy: TripwirePolicy
    what: str
    measured: float
    bound: float
    source: str
    evidence: dict[str, Any]
    actor: str
    found_at: datetime
    accepted_by: str | None
    accepted_at: datetime | None
    open: bool

    @property
    def severity(self) -> float:
        """How many times the bound was measured."""
        return abs(self.measured / self.bound)


class TripCount(Struct, frozen=True):
    """How often a wire has tripped, and what its policy was."""

    kind: str
    policy: TripwirePolicy
    count: int


class _Bet(Struct, frozen=True):
    kind: str
    name: str
    yes: bool | None
    change: float | None


def outcomes(connection: Connection, window: str) -> Outcomes:
    """Read the outcomes of a window's bets as its rewards know them."""
    bets = fetch_all(connection, "tripwires.bets", _Bet, window=window)
    return Outcomes(
        markets={one.name: Outcome(yes=one.yes) for one in bets if one.yes is not None},
        tickers={one.name: Outcome(change=one.change) for one in bets if one.change is not None},
    )


def figures(
    connection: Connection, lineage: str, window: str, *, limit: int
) -> list[dict[str, Any]]:
    """Read what the newest steps of a lineage took of other windows, the newest first."""
    return fetch_values(
        connection, "tripwires.figures", dict, lineage=lineage, window=window, limit=limit
    )


def accepted_kinds(
    connection: Connection, lineage: str, window: str, reward_version: int
) -> set[str]:
    """List the wires that somebody has accepted for a window's rewards."""
    return set(
        fetch_values(
            connection,
            "tripwires.accepted_kinds",
            str,
            lineage=lineage,
            window=window,
            version=reward_version,
        )
    )


def keep_from_training(
    connection: Connection, lease: Lease, found: FoundTrips, *, actor: str
) -> None:
    """Put on record what tripped in a window that the next step does not take; raises StaleLease.

    The window stays scored, and no attempt of it is used up.
    """
    with connection.transaction():
        head = lineages.lock_lineage(connection, lease).head_step
        _add(connection, lease.lineage, found, head + 1, step_id=None, actor=actor)


def keep(
    connection: Connection,
    lineage: str,
    found: Sequence[FoundTrips],
    *,
    target_step: int,
    step_id: int,
    actor: str,
) -> None:
    """Keep what tripped in a planned step, and its figures, in the transaction that plans it."""
    for one in found:
        _add(connection, lineage, one, target_step, step_id=step_id, actor=actor)
        if one.figures is not None:
            execute(
                connection,
                "tripwires.keep_figures",
                step_id=step_id,
                lineage=lineage,
                window=one.window,
                figures=Jsonb(one.figures),
            )


def accept(connection: Connection, lineage: str, window: str, *, actor: str) -> list[str]:
    """Let a tripped window through; returns the wires that kept it, none if it is not tripped."""
    with connection.transaction():
        kinds = fetch_values(
            connection, "tripwires.accept", str, lineage=lineage, window=window, actor=actor
        )
        if kinds:
            events.record(
                connection,
                EventKind.TRIPWIRES_ACCEPTED,
                actor=actor,
                window=window,
                lineage=lineage,
                detail={"tripwires": kinds},
            )
    return kinds


def listed(
    connection: Connection, lineage: str, *, limit: int, since: datetime | None = None
) -> list[TripRow]:
    """List the newest tripwires of a lineage."""
    of = {"lineage": lineage, "since": since, "limit": limit}
    return fetch_all(connection, "tripwires.list", TripRow, **of)


def still_open(
    connection: Connection, lineage: str, *, limit: int, since: datetime | None = None
) -> list[TripRow]:
    """List what keeps windows of a lineage from training, the oldest window first."""
    of = {"lineage": lineage, "since": since, "limit": limit}
    return fetch_all(connection, "tripwires.still_open", TripRow, **of)


def how_many(
    connection: Connection, lineage: str, *, only_open: bool, since: datetime | None = None
) -> int:
    """Count what ``listed``, or ``still_open``, would list without a limit."""
    name = "tripwires.how_many_open" if only_open else "tripwires.how_many"
    return fetch_value(connection, name, int, lineage=lineage, since=since) or 0


def of_window(connection: Connection, window: str, lineage: str | None = None) -> list[TripRow]:
    """List all that tripped in a window, in order: for one lineage, or for any."""
    return fetch_all(connection, "tripwires.of_window", TripRow, window=window, lineage=lineage)


def counts(connection: Connection, lineage: str) -> list[TripCount]:
    """Count what tripped in a lineage's windows."""
    return fetch_all(connection, "tripwires.counts", TripCount, lineage=lineage)


def tripped_windows(connection: Connection, lineage: str) -> int:
    """Count the windows that tripwires keep from a lineage's steps."""
    return fetch_value(connection, "tripwires.open_windows", int, lineage=lineage) or 0


def _add(
    connection: Connection,
    lineage: str,
    found: FoundTrips,
    target_step: int,
    *,
    step_id: int | None,
    actor: str,
) -> None:
    for trip, policy in found.trips:
        execute(
            connection,
            "tripwires.add",
            lineage=lineage,
            window=found.window,
            version=found.reward_version,
            step_id=step_id,
            target_step=target_step,
            kind=trip.kind,
            policy=policy,
            what=trip.what,
            measured=trip.measured,
            bound=trip.bound,
            source=trip.source,
            evidence=Jsonb(trip.evidence),
            actor=actor,
        )
        events.record(
            connection,
            EventKind.TRIPPED,
            actor=actor,
            window=found.window,
            lineage=lineage,
            step_id=step_id,
            detail={"tripwire": trip.kind, "policy": policy, "what": trip.what},
        )
