"""What the wires are shown: a group's members, and what is known of each beside its answers."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Protocol

from msgspec import Struct

from babylon_tasks.records import Group, Member
from babylon_tasks.tripwires import Trip


class MemberFacts(Struct, frozen=True, gc=False):
    """What a member does not say: who it is, and what became of its bets.

    ``merit`` and ``failed`` as in ``Evidence``; ``bets``: name and outcome of the prediction
    markets that it bet on, of those that have ended.
    """

    agent: str
    archetype: str = ""
    merit: float | None = None
    bets: tuple[tuple[str, bool], ...] = ()
    failed: int = 0


class WatchedMember(Struct, frozen=True, gc=False):
    """A member with its facts."""

    member: Member
    facts: MemberFacts


class WatchedGroup(Struct, frozen=True, gc=False):
    """A group with the facts of its members."""

    key: str
    members: tuple[WatchedMember, ...]


class Wire(Protocol):
    """One tripwire, for the groups of one window."""

    def add(self, group: WatchedGroup) -> None:
        """Take a group into account."""
        ...

    def trips(self) -> list[Trip]:
        """List what has tripped it, after all groups."""
        ...


def watched(group: Group, facts: Mapping[str, MemberFacts]) -> WatchedGroup:
    """Join the members of a group with their facts."""
    return WatchedGroup(
        group.key,
        tuple(WatchedMember(one, facts[one.trajectory_id]) for one in group.members),
    )
