"""Reward against length: a policy that is paid for length learns length (arXiv:2503.20783)."""

from __future__ import annotations

from babylon_tasks.dataset.tripwires.rank_correlation import RankCorrelation
from babylon_tasks.dataset.tripwires.watched import WatchedGroup
from babylon_tasks.records import Member
from babylon_tasks.tripwires import Trip, Tripwire

STRONGEST = 0.5  # length then explains a quarter of the order of rewards
_ERRORS = 3.0
_SOURCE = (
    f"|correlation| >= {STRONGEST:g}, a quarter of the order of rewards explained, and >= "
    f"{_ERRORS:g} standard errors over agents"
)


class Length:
    """Rank correlation of reward and length of the answers, inside groups."""

    def __init__(self) -> None:
        self._correlation = RankCorrelation()

    def add(self, group: WatchedGroup) -> None:
        """Take a group into account."""
        members = [one.member for one in group.members]
        of = _tokens if all(map(_tokens, members)) else _characters
        self._correlation.add(
            [of(one) for one in members],  # not some in tokens, and some in characters
            [one.member.reward for one in group.members],
            [one.facts.agent for one in group.members],
        )

    def trips(self) -> list[Trip]:
        """Trip where length and reward go together, in either direction."""
        found = self._correlation.result()
        if found is None or abs(found.coefficient) < STRONGEST or abs(found.errors) < _ERRORS:
            return []
        which = "longer" if found.coefficient > 0 else "shorter"
        return [
            Trip(
                Tripwire.LENGTH,
                f"{which} answers are rewarded more: rank correlation {found.coefficient:.2f} over "
                f"{found.trajectories} trajectories of {found.agents} agents",
                found.coefficient,
                STRONGEST,
                _SOURCE,
                {
                    "correlation": found.coefficient,
                    "errors": found.errors,
                    "trajectories": found.trajectories,
                    "agents": found.agents,
                },
            )
        ]


def length(member: Member) -> int:
    """Count the tokens of a member's answers, or their characters where tokens are not known."""
    return _tokens(member) or _characters(member)


def _tokens(member: Member) -> int:
    """Count tokens, however they are recorded; 0 where those of a call are not known."""
    counts = [
        len(call.token_ids or call.logprobs or call.tokens or call.token_bytes or ())
        for call in member.calls
    ]
    return sum(counts) if all(counts) else 0


def _characters(member: Member) -> int:
    return sum(len(call.response) for call in member.calls)
