"""Show what a step would take of a window to the tripwires, and apply their policies."""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from typing import Protocol

import msgspec
import structlog

from babylon_tasks import metrics
from babylon_tasks.dataset.tripwires.examine import examine
from babylon_tasks.dataset.tripwires.figures import KEPT, as_recorded
from babylon_tasks.dataset.tripwires.watched import MemberFacts
from babylon_tasks.db import tripwires
from babylon_tasks.db.lineages import Lease
from babylon_tasks.db.session import Connection
from babylon_tasks.db.tripwires import FoundTrips
from babylon_tasks.records import Group
from babylon_tasks.settings import Settings
from babylon_tasks.tripwires import Tripwire, TripwirePolicy

log = structlog.get_logger(__name__)


# A supervised step takes the best answers alone: nothing can be compared with their rewards.
SUPERVISED = (Tripwire.OUTCOME_WORDS, Tripwire.DUPLICATES)


class TakenOfWindow(Protocol):
    """What a step would take of one window."""

    @property
    def window(self) -> str: ...
    @property
    def reward_version(self) -> int: ...
    @property
    def groups(self) -> Sequence[Group]: ...
    @property
    def facts(self) -> Mapping[str, MemberFacts]: ...
    @property
    def scorers(self) -> Sequence[str]: ...


def let_through(
    connection: Connection, settings: Settings, lease: Lease, taken: TakenOfWindow, *, actor: str
) -> FoundTrips | str:
    """Return what tripped in a window that may be trained on; else put it on record and say why.

    Then the window stays scored, without an attempt. Raises StaleLease.
    """
    found = look(connection, settings, taken)
    refusing = kinds_that_refuse(found)
    if not refusing:
        return found
    refuse(connection, lease, found, actor=actor)
    return f"tripped: {', '.join(refusing)}"


def refuse(connection: Connection, lease: Lease, found: FoundTrips, *, actor: str) -> None:
    """Put on record that a window is kept from training; raises StaleLease."""
    tripwires.keep_from_training(connection, lease, found, actor=actor)
    report(lease.lineage, found)


def kinds_that_refuse(found: FoundTrips) -> list[str]:
    """List the wires that keep a window from training."""
    return sorted({one.kind for one, policy in found.trips if policy is TripwirePolicy.HOLD})


def report(lineage: str, found: FoundTrips) -> None:
    """Log and count what tripped, once it is on record."""
    for one, policy in found.trips:
        metrics.TRIPS.labels(lineage, one.kind, policy).inc()
        log.warning(
            "window.tripped",
            window=found.window,
            tripwire=one.kind,
            policy=policy,
            why=one.what,
            measured=round(one.measured, 4),
            bound=round(one.bound, 4),
        )


def look(
    connection: Connection,
    settings: Settings,
    taken: TakenOfWindow,
    *,
    wires: Collection[Tripwire] = tuple(Tripwire),
) -> FoundTrips:
    """Examine the groups of a window; writes nothing."""
    policies, lineage = settings.tripwire_policies, settings.lineage
    before = tripwires.figures(connection, lineage, taken.window, limit=KEPT)
    history = as_recorded(before)
    if len(history) < len(before):
        log.warning(
            "figures.refused",
            window=taken.window,
            lineage=lineage,
            why=f"another version has recorded the figures of {len(before) - len(history)} of the "
            f"{len(before)} windows before it",
        )
    examined = examine(taken.groups, taken.facts, ", ".join(taken.scorers), history)
    trips = [
        one
        for one in examined.trips
        if one.kind in wires and policies[one.kind] is not TripwirePolicy.OFF
    ]
    accepted: set[str] = set()
    if any(policies[one.kind] is TripwirePolicy.HOLD for one in trips):
        accepted = tripwires.accepted_kinds(connection, lineage, taken.window, taken.reward_version)
    return FoundTrips(
        taken.window,
        taken.reward_version,
        tuple(
            (one, TripwirePolicy.WARN if one.kind in accepted else policies[one.kind])
            for one in trips
        ),
        msgspec.to_builtins(examined.figures),
    )
