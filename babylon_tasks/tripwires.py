"""The tripwires before the trainer: their names, what each does when it trips, and what it found.

The names are stored (``training.tripwires``) and set (``BABYLON_TRIPWIRES``), so they never change.
``dataset/tripwires/`` has the wires themselves; docs/tripwires.md says what to do about each.
"""

from __future__ import annotations

from enum import StrEnum
from typing import Any

from msgspec import Struct


class Tripwire(StrEnum):
    """What is looked for in the groups that a step is about to take of a window."""

    LENGTH = "length"  # the reward follows the length of the answers
    DOMINANCE = "dominance"  # one agent or archetype decides what is learned
    DUPLICATES = "duplicates"  # the same answers again, or prompts that do not say what is asked
    OUTCOME_WORDS = "outcome_words"  # prompts say how the markets end
    DISTRIBUTION = "distribution"  # rewards spread otherwise than in the steps before
    AGAINST_OUTCOMES = "against_outcomes"  # who bet right is rewarded less


class TripwirePolicy(StrEnum):
    """What becomes of a window that trips a wire."""

    OFF = "off"  # it is not looked at
    WARN = "warn"  # trained on, on record
    HOLD = "hold"  # not trained on until somebody accepts it


# A prompt that gives the outcome away, or a reward of the wrong sign, teaches what is not so, and
# no later step takes it back. The others cost efficiency, or happen for good reasons too.
DEFAULT_POLICIES = dict.fromkeys(Tripwire, TripwirePolicy.WARN) | {
    Tripwire.OUTCOME_WORDS: TripwirePolicy.HOLD,
    Tripwire.AGAINST_OUTCOMES: TripwirePolicy.HOLD,
}


class Trip(Struct, frozen=True):
    """A wire that has tripped: what was measured, against which bound, and the evidence.

    ``what`` is a sentence for people; ``source`` says where the bound comes from.
    """

    kind: Tripwire
    what: str
    measured: float
    bound: float
    source: str
    evidence: dict[str, Any]

    @property
    def severity(self) -> float:
        """How many times the bound was measured."""
        return abs(self.measured / self.bound) if self.bound else abs(self.measured)


def read_policies(text: str) -> dict[Tripwire, TripwirePolicy]:
    """Read ``length=warn,duplicates=off``; wires that are not named keep their default.

    Raises ValueError.
    """
    policies = dict(DEFAULT_POLICIES)
    named: set[str] = set()
    for part in filter(None, (part.strip() for part in text.split(","))):
        name, _, policy = (one.strip() for one in part.partition("="))
        if name in named:
            raise ValueError(f"{name} is in it twice")
        named.add(name)
        try:
            policies[Tripwire(name)] = TripwirePolicy(policy)
        except ValueError:
            raise ValueError(
                f"{part} is not TRIPWIRE=POLICY, with one of the tripwires {', '.join(Tripwire)} "
                f"and one of the policies {', '.join(TripwirePolicy)}"
            ) from None
    return policies
