"""What a run of the demo does otherwise than the demo: for experiments."""

from __future__ import annotations

import random
from collections.abc import Sequence
from dataclasses import replace

from msgspec import Struct, field

from babylon_tasks.sandbox.markets import Market

STALE_BY = 4  # windows


class Variation(Struct, frozen=True):
    """``reverse_at``: from this window on, counted from 1, headlines hint at the contrary, those of
    the final evaluation too.

    ``flipped`` is the share of the windows' markets that end against their headline, ``stale`` that
    of the agents who ask what served four windows ago. ``unseen_phrasings``: the final evaluation
    also asks in phrasings that no window had. ``options`` are settings other than the demo's.
    """

    reverse_at: int | None = None
    flipped: float = 0.0
    stale: float = 0.0
    unseen_phrasings: bool = False
    options: dict[str, str] = field(default_factory=dict)

    def opposite(self, number: int) -> bool:
        """Whether headlines hint at the contrary in the window of this number, counted from 0."""
        return self.reverse_at is not None and number + 1 >= self.reverse_at

    def settled(self, markets: Sequence[Market], seed: int, number: int) -> list[Market]:
        """Draw which of a window's markets end against their headline; repeatable by seed."""
        draw = random.Random(f"{seed}/flipped/{number}")
        return [replace(market, surprise=draw.random() < self.flipped) for market in markets]

    def asks_stale(self, agent: int, agents: int) -> bool:
        """Whether the agent of this number asks what served four windows ago."""
        return agent < round(self.stale * agents)


def stale_step(served: Sequence[int]) -> int:
    """Choose the checkpoint of the stale answers from those that served, window by window."""
    return served[max(0, len(served) - 1 - STALE_BY)]
