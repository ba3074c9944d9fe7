"""Running totals of a scoring run, and the verdict on its window. Pure."""

from __future__ import annotations

import math
from collections import Counter

from babylon_tasks.db.scoring import Result
from babylon_tasks.settings import Settings
from babylon_tasks.states import WindowState


class Tally:
    """What a run has seen so far: as small as its agents and groups are few."""

    def __init__(self) -> None:
        self.scored = 0
        self.rejected: Counter[str] = Counter()
        self.agents: set[str] = set()
        self._mean = 0.0
        self._squares = 0.0
        self._bounds: dict[str, list[float]] = {}  # lowest and highest reward of each group

    @property
    def trajectories(self) -> int:
        """All rows seen, used or not."""
        return self.scored + self.rejected.total()

    def add(self, agent: str, group: str, reward: float) -> None:
        """One scored trajectory."""
        self.scored += 1
        self.agents.add(agent)
        # Welford: the plain sum of squares loses everything when rewards are nearly equal.
        step = reward - self._mean
        self._mean += step / self.scored
        self._squares += step * (reward - self._mean)
        bounds = self._bounds.get(group)
        if bounds is None:
            self._bounds[group] = [reward, reward]
        elif reward < bounds[0]:
            bounds[0] = reward
        elif reward > bounds[1]:
            bounds[1] = reward

    def result(self, settings: Settings, *, held_out: bool) -> Result:
        """The totals and the state that follows from them."""
        state, reason = self._verdict(settings, held_out)
        return Result(
            state=state,
            reason=reason,
            trajectories=self.trajectories,
            agents=len(self.agents),
            scored=self.scored,
            rejected=dict(self.rejected.most_common()),
            reward_mean=self._mean if self.scored else None,
            reward_std=math.sqrt(self._squares / self.scored) if self.scored else None,
        )

    def _verdict(self, settings: Settings, held_out: bool) -> tuple[WindowState, str | None]:
        if not self.scored:
            return WindowState.SKIPPED, "nothing_usable"
        if len(self.agents) < settings.min_agents:
            return WindowState.SKIPPED, "too_few_agents"
        if held_out:  # evaluation compares checkpoints with each other, not members of a group
            return WindowState.HELD_OUT, None
        spread = max(high - low for low, high in self._bounds.values())
        if spread <= settings.min_reward_spread:
            return WindowState.SKIPPED, "no_spread"
        return WindowState.SCORED, None
