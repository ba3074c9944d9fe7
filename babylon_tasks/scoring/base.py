"""What a scorer is: evidence of comparable trajectories in, rewards out."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Protocol

from babylon_tasks.records import Evidence, Score
from babylon_tasks.settings import Settings


class Scorer(Protocol):
    """A pure function with a name. ``version`` changes whenever the same input scores otherwise."""

    def __init__(self, settings: Settings) -> None: ...

    @property
    def name(self) -> str: ...

    @property
    def version(self) -> str: ...

    def rewards(
        self, members: Sequence[Evidence], reference: Sequence[Evidence]
    ) -> Sequence[Score | None]:
        """A score for each member of one group, None where it shows nothing to be judged by.

        ``reference`` holds the evidence of all comparable trajectories of the window, the members
        included. Never raises.
        """
        ...
