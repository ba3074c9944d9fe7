"""The three ART backends behind one interface, and the rule that chooses between them."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from importlib.util import find_spec
from pathlib import Path
from typing import Any, Protocol

from babylon_tasks.errors import BackendUnavailable
from babylon_tasks.records import Group
from babylon_tasks.settings import Settings
from babylon_tasks.step_records import StepResult
from babylon_tasks.training import art_interface
from babylon_tasks.training.cpu_training import CpuTraining
from babylon_tasks.training.local import LocalTraining
from babylon_tasks.training.protocol import (
    BackendStep,
    Checked,
    CheckRequest,
    Inspected,
    InspectRequest,
    LoggedStep,
    OnProgress,
    StepValue,
    TrainRequest,
)
from babylon_tasks.training.serverless import ServerlessTraining
from babylon_tasks.training.trainer_start import ComputesOn, StartTrainer


def choose(settings: Settings) -> str:
    """Choose a backend: the setting's, or for ``auto`` serverless, local, cpu in that order.

    Raises BackendUnavailable when its packages are missing.
    """
    return choose_and_explain(settings)[0]


def choose_and_explain(settings: Settings) -> tuple[str, str]:
    """Choose a backend, and say why; raises BackendUnavailable when its packages are missing."""
    name, why = named(settings)
    _require(name)
    return name, why


def named(settings: Settings) -> tuple[str, str]:
    """Name the backend, and say why, whether or not its packages are installed here."""
    name, why = str(settings.backend), f"BABYLON_BACKEND={settings.backend}"
    if name != "auto":
        return name, why
    name, found = _found(settings)
    return name, f"{why}: {found}"


def _found(settings: Settings) -> tuple[str, str]:
    if settings.wandb_api_key is not None:
        return "serverless", "there is a W&B key"
    if not has_card():
        return "cpu", "no W&B key and no NVIDIA card"
    if find_spec("unsloth"):
        return "local", "no W&B key, but an NVIDIA card and unsloth"
    return "cpu", (
        "an NVIDIA card, but no unsloth, which backend local needs; cpu uses the card as well "
        "(BABYLON_TORCH_DEVICE)"
    )


def has_card() -> bool:
    """Look for an NVIDIA card without importing torch: a worker must stay small and fork-safe."""
    return Path("/dev/nvidia0").exists()  # NVIDIA's driver makes it


def _require(name: str) -> None:
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


def can_branch(backend: str) -> bool:
    """Check whether its steps may start from another checkpoint than the newest one."""
    return backend == "cpu"


class TrainingBackend(Protocol):
    """What the trainer process asks of a backend; ``model`` is ART's TrainableModel."""

    model: Any
    computes_on: ComputesOn | None  # None where another process, or another machine, computes
    longest_row: int | None  # tokens; None where it is not known
    carries: tuple[str, ...]  # of training_defaults.CARRIED_BY_SOME

    @property
    def base_url(self) -> str:
        """Where agents ask, once it is open."""

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

    async def set_aside(self, step: int, folder: str) -> BackendStep:
        """Move the newest checkpoint aside; where it cannot be moved it stays the newest."""

    async def discard_branch(self, parent: int, steps: Sequence[int], folder: str) -> BackendStep:
        """Discard dead checkpoints, newest first, so that the next step starts from ``parent``."""

    async def delete(self, steps: Sequence[int]) -> None:
        """Delete pruned checkpoints that are not on this machine."""

    async def log_steps(self, steps: Sequence[LoggedStep]) -> int:
        """Log committed steps that ART's history lacks; return the newest one that it has."""

    async def values(
        self, steps: Sequence[int], groups: Sequence[Group], on_progress: OnProgress
    ) -> list[StepValue]:
        """Estimate each step's held-out value; raises TrainingError where it cannot be computed."""

    async def close(self) -> None:
        """Release the model and stop serving."""


def make(start: StartTrainer) -> TrainingBackend:
    """Make the named backend; it is opened later.

    Raises BackendUnavailable where the installed ART has an interface that it does not work with.
    """
    makers: dict[str, Callable[[StartTrainer], TrainingBackend]] = {
        "cpu": CpuTraining,
        "local": LocalTraining,
        "serverless": ServerlessTraining,
    }
    art_interface.require(start.backend)
    return makers[start.backend](start)
