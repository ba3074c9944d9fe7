"""What the pipeline needs of a trainer, wherever it runs."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Protocol

from babylon_tasks.step_records import StepResult
from babylon_tasks.training.protocol import (
    BackendStep,
    Checked,
    CheckRequest,
    Evaluated,
    EvaluateRequest,
    Inspected,
    InspectRequest,
    LoggedStep,
    OnProgress,
    TrainRequest,
)
from babylon_tasks.training.trainer_start import TrainerReady


class TrainerLike(Protocol):
    """A trainer process as the pipeline uses it.

    Each call but ``kill`` and ``close`` raises TrainerDied where the process ended or fell
    silent, TrainingError where it refused the request and still runs.
    """

    def ready(self) -> TrainerReady:
        """Start it unless it runs, and wait until it serves; raises BackendUnavailable."""
        ...

    def backend_step(self) -> BackendStep:
        """Return the newest checkpoint of the backend, even if another process made it."""
        ...

    def check(self, request: CheckRequest) -> Checked:
        """Find checkpoints whose files are not what was committed; it loads none of these."""
        ...

    def inspect(self, request: InspectRequest, on_progress: OnProgress) -> Inspected:
        """Find calls that would not be trained on as they were sampled; changes nothing."""
        ...

    def train(self, request: TrainRequest, on_progress: OnProgress) -> StepResult:
        """Run one training step; the result is what the backend and its files show."""
        ...

    def evaluate(self, request: EvaluateRequest, on_progress: OnProgress) -> Evaluated:
        """Evaluate checkpoints on held-out groups; changes nothing."""
        ...

    def discard(self, step: int) -> BackendStep:
        """Remove the newest checkpoint, which must be ``step``."""
        ...

    def set_aside(self, step: int, folder: str) -> BackendStep:
        """Set the newest checkpoint, which must be ``step``, aside under this name.

        Where it cannot be moved, at W&B, it stays the newest.
        """
        ...

    def discard_branch(self, parent: int, steps: Sequence[int], folder: str) -> BackendStep:
        """Discard dead checkpoints, so that the next step starts from ``parent``.

        For backends that train on from their newest checkpoint; what is done is not done again.
        """
        ...

    def delete(self, steps: Sequence[int]) -> None:
        """Delete pruned checkpoints that are not on this machine, if they are not gone already."""
        ...

    def log_steps(self, steps: Sequence[LoggedStep]) -> int:
        """Log committed steps that ART's history lacks; return the newest one that it has.

        Starts no trainer: raises TrainerDied where none runs.
        """
        ...

    def kill(self) -> None:
        """End it at once, from any thread; a call in flight raises TrainerDied."""
        ...

    def close(self) -> None:
        """End it in order; does nothing when it has ended already."""
        ...
