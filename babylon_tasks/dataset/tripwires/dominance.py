"""One agent or archetype dominating: the policy then learns one habit, not what pays.

A trajectory's weight in a step is how far its reward is from its group's mean: its advantage.
"""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Mapping, Sequence
from statistics import fmean

from babylon_tasks.dataset.tripwires.figures import WindowFigures
from babylon_tasks.dataset.tripwires.watched import WatchedGroup
from babylon_tasks.tripwires import Trip, Tripwire

HALF = 0.5
# Of the weight: one that is alone in each of its groups can have no more than half.
HEAVY = 0.4
_TIMES = 3.0
_FEWEST = 16  # trajectories
_FEWEST_AGENTS = 4  # with fewer each has much of it anyway
_MOST = 0.8  # of an archetype that used to have less than half as much
_WINDOWS = 8
_SOURCE = "half of the trajectories of a step, of at least four agents"
_SOURCE_WEIGHT = (
    f"{HEAVY:.0%} of the weight, and {_TIMES:g} times its share of the trajectories: deviations "
    "from a mean sum to 0, so one member of each group has half of it at most"
)
_SOURCE_BEFORE = f"{_MOST:.0%} of the trajectories, at least twice its share in the windows before"


class Dominance:
    """Shares of trajectories and of weight, by agent and by archetype."""

    def __init__(self, history: Sequence[WindowFigures]) -> None:
        self._history = history
        self._count = 0
        self._agents: Counter[str] = Counter()
        self._archetypes: Counter[str] = Counter()
        self._weights: defaultdict[str, float] = defaultdict(float)
        self._weights_of_archetypes: defaultdict[str, float] = defaultdict(float)

    def add(self, group: WatchedGroup) -> None:
        """Take a group into account."""
        mean = fmean(one.member.reward for one in group.members)
        for one in group.members:
            facts, weight = one.facts, abs(one.member.reward - mean)
            self._count += 1
            self._agents[facts.agent] += 1
            self._weights[facts.agent] += weight
            self._archetypes[facts.archetype] += 1
            self._weights_of_archetypes[facts.archetype] += weight

    def trips(self) -> list[Trip]:
        """Trip for the agent, and for the archetype, with the largest share."""
        if self._count < _FEWEST:
            return []
        return [
            *(self._most_trajectories() or self._most_weight("agent", self._agents, self._weights)),
            *(
                self._most_weight("archetype", self._archetypes, self._weights_of_archetypes)
                or self._suddenly_most()
            ),
        ]

    def _most_trajectories(self) -> list[Trip]:
        name, count = self._agents.most_common(1)[0]
        share = count / self._count
        if len(self._agents) < _FEWEST_AGENTS or share < HALF:
            return []
        return [self._trip("agent", name, share, "trajectories", HALF, _SOURCE)]

    def _most_weight(
        self, kind: str, counts: Mapping[str, int], weights: Mapping[str, float]
    ) -> list[Trip]:
        total = sum(weights.values())
        name = max(weights, key=lambda one: (weights[one], one))
        weight, share = weights[name] / total if total else 0.0, counts[name] / self._count
        if weight < HEAVY or weight < _TIMES * share:
            return []
        return [self._trip(kind, name, weight, "weight", HEAVY, _SOURCE_WEIGHT)]

    def _suddenly_most(self) -> list[Trip]:
        before = [one for one in self._history if one.archetypes]
        name, count = self._archetypes.most_common(1)[0]
        share = count / self._count
        if not name or len(before) < _WINDOWS or share < _MOST:
            return []
        usual = fmean(one.archetypes.get(name, 0) / one.trajectories for one in before)
        if share < 2 * usual:
            return []
        return [self._trip("archetype", name, share, "trajectories", _MOST, _SOURCE_BEFORE)]

    def _trip(self, kind: str, name: str, share: float, of: str, bound: float, source: str) -> Trip:
        return Trip(
            Tripwire.DOMINANCE,
            f"{kind} {name} has {share:.0%} of the {of} of {self._count} trajectories",
            share,
            bound,
            source,
            {
                kind: name,
                "share": share,
                "of": of,
                "trajectories": self._count,
                "agents": len(self._agents),
            },
        )
