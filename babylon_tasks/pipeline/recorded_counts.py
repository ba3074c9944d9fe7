"""Count the models, unknown words and bets of trajectories. Pure."""

from __future__ import annotations

from collections import Counter

from babylon_tasks.decode import bounded
from babylon_tasks.records import Evidence, Trajectory
from babylon_tasks.vocabulary import unknown_side, unknown_word

OTHERS = "(others)"
NO_NAME = "(none)"
_DISTINCT = 1000  # names of one kind; further ones are counted together
_LENGTH = 80


class RecordedCounts:
    """Counts of bounded size, however many trajectories there are.

    ``models`` counts calls that were acted upon, by model; ``actions`` and ``sides`` count unknown
    words, ``captures`` calls without token ids, by what was captured of them, ``misnamed`` those of
    them whose prompt named another agent. ``bets`` are trades
    with a known side, ``known`` those of them with an outcome.
    """

    def __init__(self) -> None:
        self.models: Counter[str] = Counter()
        self.actions: Counter[str] = Counter()
        self.sides: Counter[str] = Counter()
        self.captures: Counter[str] = Counter()
        self.misnamed = 0
        self.bets = 0
        self.known = 0

    @property
    def trades(self) -> int:
        """Actions that should have an outcome, whether or not their side is understood."""
        return self.bets + self.sides.total()

    def add(self, trajectory: Trajectory, evidence: Evidence) -> None:
        """Count one trajectory with its evidence."""
        for call in trajectory.calls:
            _count(self.models, call.model)
        for action in trajectory.actions:
            word, side = unknown_word(action), unknown_side(action)
            if word is not None:
                _count(self.actions, word)
            if side is not None:
                _count(self.sides, side)
        self.known += evidence.right + evidence.wrong
        self.bets += evidence.right + evidence.wrong + evidence.unknown

    def join(self, other: RecordedCounts) -> None:
        """Add the counts of another."""
        for mine, theirs in (
            (self.models, other.models),
            (self.actions, other.actions),
            (self.sides, other.sides),
        ):
            for name, number in theirs.items():
                _count(mine, name, number)
        self.captures.update(other.captures)
        self.misnamed += other.misnamed
        self.known += other.known
        self.bets += other.bets


def _count(counter: Counter[str], name: str, number: int = 1) -> None:
    short = bounded(name)[:_LENGTH].strip() or NO_NAME
    counter[short if short in counter or len(counter) < _DISTINCT else OTHERS] += number
