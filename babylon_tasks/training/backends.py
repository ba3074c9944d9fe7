"""The three ART backends behind one interface, and the rule that chooses between them."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from importlib.util import find_spec
from pathlib import Path
from typing import Any, Protocol

from babylon_tasks.errors import BackendUnavailable
from babylon_tasks.records import Group, StepResult
from babylon_tasks.settings import Settings
from babylon_tasks.training.disk_backend import CpuTraining, LocalTraining
from babylon_tasks.training.protocol import (
    BackendStep,
    Checked,
    CheckRequest,
    Inspected,
    InspectRequest,
    OnProgress,
    StartTrainer,
    StepValue,
    TrainRequest,
)
from babylon_tasks.training.serverless import ServerlessTraining


def choose(settings: Settings) -> str:
    """Choose a backend: the setting's, or for ``auto`` serverless, local, cpu in that order.

    Looks for CUDA without importing torch (a worker must stay small and fork-safe): NVIDIA's
    driver makes ``/dev/nvidia0``. Raises BackendUnavailable when its packages are missing.
    """
    name: str = settings.backend
    if name == "auto":
        if settings.wandb_api_key is not None:
            name = "serverless"
        elif Path("/dev/nvidia0").exists() and find_spec("unsloth"):
            name = "local"
        else:
            name = "cpu"
    needed = {
        "serverless": ("train", ["art", "wandb"]),
        "local": ("gpu", ["art", "torch", "unsloth"]),
        "cpu": ("cpu", ["art", "torch", "transformers", "peft", "uvicorn"]),
    }
    extra, modules = needed[name]
    missing = [module for module in modules if find_spec(module) is None]
    if missing:
        raise BackendUnavailable(
            f"backend {name} needs {', '.join(missing)}; install babylon-tasks[{extra}]"
        )
    return name


def can_branch(backend: str) -> bool:
    """Check whether its steps may start from another checkpoint than the newest one."""
    return backend == "cpu"


class TrainingBackend(Protocol):
    """What the trainer process asks of a backend; ``model`` is ART's TrainableModel."""

    model: Any

    async def open(self) -> None:
        """Load, register with ART, and serve inference where the backend serves it itself."""

    async def step(self) -> BackendStep:
        """Return the newest checkpoint and, where one was left, the record of what made it."""

    async def check(self, request: CheckRequest) -> Checked:
        """Compare checkpoints with what was committed, and keep it: nothing else is loaded."""

    async def inspect(
        self, request: InspectRequest, groups: Sequence[Group], on_progress: OnProgress
    ) -> Inspected:
        """Find calls that would not be trained on as sampled; weigh each group without them."""

    async def train(
        self, request: TrainRequest, groups: Sequence[Group], on_progress: OnProgress
    ) -> StepResult:
        """Run one ART training step; the result is measured afterwards, not assumed."""

    async def discard(self, step: int) -> BackendStep:
        """Remove the newest checkpoint; raises TrainingError if that is not ``step``."""

    async def delete(self, steps: Sequence[int]) -> None:
        """Delete pruned checkpoints that are not on this machine."""

    async def values(
        self, steps: Sequence[int], groups: Sequence[Group], on_progress: OnProgress
    ) -> list[StepValue]:
        """Estimate each step's held-out value; raises TrainingError where it cannot be computed."""

    async def close(self) -> None:
        """Release the model and stop serving."""


def make(start: StartTrainer) -> TrainingBackend:
    """Make the named backend; it is opened later."""
    makers: dict[str, Callable[[StartTrainer], TrainingBackend]] = {
        "cpu": CpuTraining,
        "local": LocalTraining,
        "serverless": ServerlessTraining,
    }
    return makers[start.backend](start)
