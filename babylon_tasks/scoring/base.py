"""The interface of a scorer: evidence of comparable trajectories in, rewards out."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Protocol

from babylon_tasks.records import Evidence, Score
from babylon_tasks.settings import Settings


class Scorer(Protocol):
    """A pure function with a name. ``version`` changes when the same input scores differently."""

    def __init__(self, settings: Settings) -> None: ...

    @property
    def name(self) -> str: ...

    @property
    def version(self) -> str: ...

    def rewards(
        self, members: Sequence[Evidence], reference: Sequence[Evidence]
    ) -> Sequence[Score | None]:
        """Score each member of one group; None for a member without anything to score.

        ``reference`` is the evidence of all comparable trajectories of the window, the members
        included. Never raises.
        """
        ...
