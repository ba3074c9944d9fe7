"""Where the time of a demo's windows goes, by phase."""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping
from enum import StrEnum

from babylon_tasks.db.progress import WindowProgress
from babylon_tasks.states import WindowState


class Phase(StrEnum):
    """What a window's time goes to.

    Scoring and training begin when the window may be scored and trained on: a worker that is busy
    counts as they do. Everything else that is waited for, upkeep above all, is pending.
    """

    SAMPLING = "sampling"
    PENDING = "pending"
    SCORING = "scoring"
    TRAINING = "training"
    EVALUATING = "evaluating"


_OF_STATE = {
    WindowState.SEALED: Phase.SCORING,
    WindowState.SCORING: Phase.SCORING,
    WindowState.SCORED: Phase.TRAINING,
    WindowState.TRAINING: Phase.TRAINING,
    WindowState.TRAINED: Phase.EVALUATING,
}


def phase_of(found: WindowProgress | None) -> Phase:
    """Return the phase of a window that has been recorded; None: it is not opened yet."""
    return Phase.PENDING if found is None else _OF_STATE.get(found.state, Phase.PENDING)


class PhaseClock:
    """The seconds in each phase, one phase at a time; none before the first and after ``stop``."""

    def __init__(self, clock: Callable[[], float] = time.monotonic) -> None:
        self._clock = clock
        self._phase: Phase | None = None
        self._since = clock()
        self._seconds = dict.fromkeys(Phase, 0.0)

    def enter(self, phase: Phase) -> None:
        """End the phase that runs, if any, and begin this one."""
        self.stop()
        self._phase = phase

    def stop(self) -> None:
        """End the phase that runs."""
        now = self._clock()
        if self._phase is not None:
            self._seconds[self._phase] += now - self._since
        self._phase, self._since = None, now

    @property
    def seconds(self) -> Mapping[Phase, float]:
        """Those of each phase that has ended."""
        return self._seconds
