"""The progress of one window, from its trajectories to what agents use."""

from __future__ import annotations

from typing import Any

from msgspec import Struct

from babylon_tasks.db.session import Connection
from babylon_tasks.db.sql import fetch_one
from babylon_tasks.decisions import Decision
from babylon_tasks.states import StepState, WindowState


class WindowProgress(Struct, frozen=True):
    """A window, the newest step that used it, the decision about that step, and what serves now.

    ``profit_mean`` is in Babylon's money, ``right_share`` that of the bets known to be right or
    wrong; ``evaluation`` is the step's value in [0, 1] on the held-out groups; ``pending``: held
    out or skipped, it waits for outcomes or is to be scored anew. ``step_progress``: how far the
    step's run is, while it runs.
    """

    window: str
    state: WindowState
    reason: str | None
    agents: int
    trajectories: int
    scored: int
    profit_mean: float | None
    right_share: float | None
    rejected: dict[str, int]
    step: int | None
    step_state: StepState | None
    gradient_steps: int
    trainable_tokens: int
    loss: float | None
    decision: Decision | None
    decision_reason: str | None
    evaluation: float | None
    serving_step: int | None
    pending: bool = False
    step_progress: dict[str, Any] | None = None

    @property
    def finished(self) -> bool:
        """Whether nothing more happens to the window by itself: its step, if any, is decided."""
        if self.pending:
            return False
        if self.state is WindowState.TRAINED:
            return self.decision is not None
        return self.state in (WindowState.HELD_OUT, WindowState.SKIPPED, WindowState.FAILED)


def of_window(connection: Connection, lineage: str, window: str) -> WindowProgress | None:
    """Read the window's progress; None as long as it has no row."""
    return fetch_one(
        connection, "progress.of_window", WindowProgress, lineage=lineage, window=window
    )
