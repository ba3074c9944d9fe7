"""What the pipeline needs of a trainer, wherever it runs."""

from __future__ import annotations

from collections.abc import Callable
from typing import Protocol

from babylon_tasks.training.protocol import (
    BackendStep,
    Evaluate,
    Evaluated,
    Inspect,
    Inspected,
    Progress,
    Ready,
    Train,
    Trained,
)

OnProgress = Callable[[Progress], None]


class TrainerLike(Protocol):
    """A trainer that can be asked, waited for and ended.

    Each call but ``kill`` and ``close`` raises TrainerDied where the process ended or fell
    silent, TrainingError where it refused and lives on.
    """

    def ready(self) -> Ready:
        """Start it where it does not run yet, and wait until it serves; BackendUnavailable."""
        ...

    def backend_step(self) -> BackendStep:
        """The newest checkpoint that the backend holds, whoever made it."""
        ...

    def inspect(self, request: Inspect, on_progress: OnProgress) -> Inspected:
        """Which calls would not be trained on as they were sampled; changes nothing."""
        ...

    def train(self, request: Train, on_progress: OnProgress) -> Trained:
        """One training step; returns only what the backend and its files say."""
        ...

    def evaluate(self, request: Evaluate, on_progress: OnProgress) -> Evaluated:
        """Value checkpoints on held-out groups; changes nothing."""
        ...

    def discard(self, step: int) -> BackendStep:
        """Remove the newest checkpoint, which must be ``step``."""
        ...

    def kill(self) -> None:
        """End it at once, from any thread; a call in flight raises TrainerDied."""
        ...

    def close(self) -> None:
        """End it in order; harmless when it has ended already."""
        ...
