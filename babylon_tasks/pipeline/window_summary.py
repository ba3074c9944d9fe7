"""Running totals of a scoring run, and the state that its window gets. PURE."""

from __future__ import annotations

import math
from collections import Counter

from babylon_tasks.reasons import Reason, WindowReason
from babylon_tasks.records import Evidence, ScoringResult
from babylon_tasks.settings import Settings
from babylon_tasks.states import WindowState


class WindowSummary:
    """What a run has read so far; memory grows with agents and groups, not with trajectories.

    ``used``: trajectories that steps have taken already, under an earlier reward version. They are
    in all figures, but what state follows is decided by ``scored``, the others.
    """

    def __init__(self, used: int = 0) -> None:
        self.used = used
        self._is_used = used > 0
        self.scored = 0
        self._rewarded = 0
        self.rejected: Counter[Reason] = Counter()
        self.agents: set[str] = set()
        self._right = self._decided = 0
        self._profits = 0
        self._profit = 0.0
        self._mean = 0.0
        self._squares = 0.0
        # Per group: lowest and highest reward, lowest and highest activity.
        self._bounds: dict[str, list[float]] = {}

    @property
    def trajectories(self) -> int:
        """All rows, used or not."""
        return self.used + self.scored + self.rejected.total()

    def add_evidence(self, evidence: Evidence) -> None:
        """Count the evidence of one trajectory, whether or not it can be rewarded."""
        self._right += evidence.right
        self._decided += evidence.right + evidence.wrong
        if evidence.profit is not None:
            self._profits += 1
            self._profit += evidence.profit

    def reject(self, reason: Reason, *, used: bool = False) -> None:
        """Count one trajectory that cannot be rewarded; what is used counts as this alone."""
        self.rejected[reason] += 1
        self.used -= used

    def add(
        self, agent: str, group: str, reward: float, activity: float, *, used: bool = False
    ) -> None:
        """Count one scored trajectory."""
        self._rewarded += 1
        self.agents.add(agent)
        # Welford: a plain sum of squares loses all precision when rewards are nearly equal.
        step = reward - self._mean
        self._mean += step / self._rewarded
        self._squares += step * (reward - self._mean)
        if used:
            return  # no step takes it again
        self.scored += 1
        bounds = self._bounds.get(group)
        if bounds is None:
            bounds = self._bounds[group] = [reward, reward, activity, activity]
        # By hand: min and max take as long as all the rest of this.
        if reward < bounds[0]:
            bounds[0] = reward
        elif reward > bounds[1]:
            bounds[1] = reward
        if activity < bounds[2]:
            bounds[2] = activity
        elif activity > bounds[3]:
            bounds[3] = activity

    def result(self, settings: Settings, *, held_out: bool, waits_for: int) -> ScoringResult:
        """Return the totals and the state that follows from them.

        ``waits_for`` counts markets without an outcome yet. While there are any, a window that
        would be skipped is kept, with the reason stored beside its state.
        """
        state, reason = self._state(settings, held_out)
        if waits_for and state not in (WindowState.HELD_OUT, WindowState.SCORED):
            state = WindowState.HELD_OUT if held_out else WindowState.SCORED
            reason = reason or WindowReason.NOTHING_USABLE
        return ScoringResult(
            state=state,
            reason=reason,
            trajectories=self.trajectories,
            agents=len(self.agents),
            scored=self.used + self.scored,
            used=self.used,
            rejected=dict(self.rejected.most_common()),
            reward_mean=self._mean if self._rewarded else None,
            reward_std=math.sqrt(self._squares / self._rewarded) if self._rewarded else None,
            profit_mean=self._profit / self._profits if self._profits else None,
            right_share=self._right / self._decided if self._decided else None,
            waits_for=waits_for,
        )

    def _state(self, settings: Settings, held_out: bool) -> tuple[WindowState, WindowReason | None]:
        if held_out and self.scored:
            # Evaluation compares checkpoints with each other, not members of a group.
            if len(self.agents) >= settings.min_agents:
                return WindowState.HELD_OUT, None
            return WindowState.SKIPPED, WindowReason.TOO_FEW_AGENTS
        over = WindowState.TRAINED if self._is_used else WindowState.SKIPPED
        if not self.scored:
            return over, None if self._is_used else WindowReason.NOTHING_USABLE
        if not self._is_used and len(self.agents) < settings.min_agents:
            return WindowState.SKIPPED, WindowReason.TOO_FEW_AGENTS
        if max(b[1] - b[0] for b in self._bounds.values()) <= settings.min_reward_spread:
            busy = max(b[3] - b[2] for b in self._bounds.values()) > 0
            return over, WindowReason.ONLY_ACTIVITY if busy else WindowReason.NO_SPREAD
        return WindowState.SCORED, None
