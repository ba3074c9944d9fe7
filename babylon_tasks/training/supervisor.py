"""The worker's side of a trainer: start it, send requests, notice its silence, stop it."""

from __future__ import annotations

import queue
import subprocess
import time
from collections.abc import Callable, Sequence
from contextlib import suppress
from typing import TypeVar
from urllib.parse import urlsplit

import msgspec
from msgspec import structs

from babylon_tasks.errors import TrainerDied, TrainingError
from babylon_tasks.settings import Settings
from babylon_tasks.step_records import CommittedCheckpoint, StepResult
from babylon_tasks.training.backends import choose
from babylon_tasks.training.child import Child
from babylon_tasks.training.child_log import bound_log
from babylon_tasks.training.machine import kills_for_memory
from babylon_tasks.training.protocol import (
    BackendStep,
    Checked,
    CheckRequest,
    CloseRequest,
    Deleted,
    DeleteRequest,
    DiscardBranchRequest,
    DiscardRequest,
    Evaluated,
    EvaluateRequest,
    Heartbeat,
    Inspected,
    InspectRequest,
    Logged,
    LoggedStep,
    LogRequest,
    NewestStepRequest,
    OnProgress,
    RequestFailed,
    RequestProgress,
    SetAsideRequest,
    Trained,
    TrainerReply,
    TrainerRequest,
    TrainRequest,
)
from babylon_tasks.training.trainer_errors import ended, not_started, of_environment, reported
from babylon_tasks.training.trainer_start import TrainerReady, start_request

R = TypeVar("R", bound=msgspec.Struct)

_CLOSE_SECONDS = 20.0


class Trainer:
    """A supervised trainer process, started on first use and again after it died.

    Not thread-safe but for ``kill`` and the properties. ``on_any_progress`` is called at its start
    and whenever a request advances. Without ``serves`` it only trains (`cpu`). All calls raise
    TrainerDied when the process ends or falls silent for
    ``settings.trainer_silence_timeout_seconds``, and TrainingError when it reports a failure.
    """

    def __init__(
        self,
        settings: Settings,
        *,
        on_any_progress: Callable[[], None] = lambda: None,
        serves: bool = True,
    ) -> None:
        self._settings = settings
        self._serves = serves
        self._on_any_progress = on_any_progress
        self._listens_at: str | None = None
        self._child: Child[TrainerReply] | None = None
        self._ready: TrainerReady | None = None
        self._committed: tuple[CommittedCheckpoint, ...] = ()
        self._kills_for_memory = 0  # at the process's start
        self.log_path = settings.data_dir.absolute() / "trainer.log"

    def __enter__(self) -> Trainer:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    @property
    def pid(self) -> int | None:
        """The trainer's process id while it runs."""
        return self._child.pid if self._child and self._child.running else None

    @property
    def lock_name(self) -> str | None:
        """The name of the trainer's lock on the data folder while it runs."""
        ready = self._ready
        return ready.lock_name if ready is not None and self.pid is not None else None

    @property
    def serves(self) -> bool:
        """Whether the trainer runs and has said that it serves inference."""
        return self._ready is not None and self.pid is not None

    @property
    def port(self) -> int | None:
        """Where inference listens on this machine, while it serves; None where W&B serves."""
        at = self._listens_at
        return urlsplit(at).port if self.serves and at is not None else None

    @property
    def silent_seconds(self) -> float:
        """For how long the process has said nothing, not even that it lives."""
        return self._child.silent_seconds if self._child is not None else 0.0

    def ready(self) -> TrainerReady:
        """Start the trainer if it is not running; return when it serves inference.

        That it cannot start is no window's fault, whatever the error says.
        """
        if self._ready is not None and self.pid is not None:
            return self._ready
        self.kill()
        try:
            self._ready = self._start()
        except OSError as error:
            raise not_started(error, self.log_path) from error
        except TrainingError as error:
            error.fault = of_environment(error.fault)
            raise
        if self._committed:
            self.check(CheckRequest(committed=self._committed, steps=()))
        return self._ready

    def _start(self) -> TrainerReady:
        settings = self._settings
        data_dir = settings.data_dir.absolute()
        data_dir.mkdir(parents=True, exist_ok=True)
        start = start_request(settings, backend=choose(settings), serves=self._serves)
        self._kills_for_memory = kills_for_memory()
        bound_log(self.log_path)
        with self.log_path.open("ab") as log:
            child = self._child = Child(
                "babylon_tasks.training.trainer",
                msgspec.json.Decoder(TrainerReply),
                log,
                folder=data_dir,
            )
        self._send(child, start)
        patience = settings.trainer_start_timeout_seconds
        ready = self._await(child, TrainerReady, None, patience=patience)
        self._on_any_progress()
        self._listens_at = None if ready.backend == "serverless" else ready.base_url
        if settings.inference_url is not None and ready.backend != "serverless":
            # Agents do not use the address it listens on: a Service or a proxy is in between.
            return structs.replace(ready, base_url=settings.inference_url, own_url=ready.base_url)
        return ready

    def backend_step(self) -> BackendStep:
        """Return the backend's newest step, and the record of what made it."""
        return self._ask(NewestStepRequest(), BackendStep)

    def check(self, request: CheckRequest) -> Checked:
        """Find checkpoints that are not what was committed; a trainer that follows knows, too."""
        self._committed = request.committed
        return self._ask(request, Checked)

    def inspect(self, request: InspectRequest, on_progress: OnProgress | None = None) -> Inspected:
        """Find calls that would not be trained on as sampled; weigh each group without them."""
        return self._ask(request, Inspected, on_progress)

    def train(self, request: TrainRequest, on_progress: OnProgress | None = None) -> StepResult:
        """Run one training step; its result is still to be verified."""
        return self._ask(request, Trained, on_progress).result

    def evaluate(
        self, request: EvaluateRequest, on_progress: OnProgress | None = None
    ) -> Evaluated:
        """Evaluate checkpoints on held-out groups."""
        return self._ask(request, Evaluated, on_progress)

    def discard(self, step: int) -> BackendStep:
        """Remove the newest checkpoint."""
        return self._ask(DiscardRequest(step=step), BackendStep)

    def set_aside(self, step: int, folder: str) -> BackendStep:
        """Set the newest checkpoint aside; at W&B it stays the newest."""
        return self._ask(SetAsideRequest(step=step, folder=folder), BackendStep)

    def discard_branch(self, parent: int, steps: Sequence[int], folder: str) -> BackendStep:
        """Discard dead checkpoints, so that the next step starts from ``parent``."""
        return self._ask(DiscardBranchRequest(parent, tuple(steps), folder), BackendStep)

    def delete(self, steps: Sequence[int]) -> None:
        """Delete pruned checkpoints that are not on this machine."""
        self._ask(DeleteRequest(tuple(steps)), Deleted)

    def log_steps(self, steps: Sequence[LoggedStep]) -> int:
        """Log committed steps that ART's history lacks; returns the newest one that it has.

        No trainer is started for that: raises TrainerDied where none runs.
        """
        if not self.serves:
            raise TrainerDied("no trainer runs; what lacks its line gets it when one starts")
        return self._ask(LogRequest(tuple(steps)), Logged).newest

    def kill(self) -> None:
        """End the trainer and all its children at once. Safe from any thread."""
        if self._child is not None:
            self._child.end()

    def close(self) -> None:
        """Ask the trainer to finish; kill it if it does not."""
        if self._child is not None and self._child.running:
            with suppress(TrainerDied, subprocess.TimeoutExpired):
                self._send(self._child, CloseRequest())
                self._child.wait(_CLOSE_SECONDS)
        self.kill()
        self._ready = None

    def _ask(
        self, request: TrainerRequest, kind: type[R], on_progress: OnProgress | None = None
    ) -> R:
        self.ready()
        if self._child is None:
            raise TrainerDied("the trainer is not running")
        self._send(self._child, request)
        patience = self._settings.trainer_silence_timeout_seconds
        return self._await(self._child, kind, on_progress, patience=patience)

    def _send(self, child: Child[TrainerReply], request: TrainerRequest) -> None:
        if not child.send(request):
            raise self._death(child)

    def _await(
        self,
        child: Child[TrainerReply],
        kind: type[R],
        on_progress: OnProgress | None,
        *,
        patience: float,
    ) -> R:
        deadline = time.monotonic() + patience
        while True:
            try:
                reply = child.replies.get(timeout=max(0.0, deadline - time.monotonic()))
            except queue.Empty:
                self.kill()
                raise TrainerDied(
                    f"the trainer made no progress for {patience:.0f} s and was ended; "
                    f"its log is {self.log_path}"
                ) from None
            match reply:
                case None:
                    raise self._death(child)
                case Heartbeat():
                    # Alive does not mean advancing: only progress extends the deadline.
                    continue
                case RequestProgress():
                    deadline = time.monotonic() + patience
                    self._on_any_progress()
                    if on_progress is not None:
                        on_progress(reply)
                case RequestFailed():
                    raise reported(self._settings, reply)
                case _:
                    if isinstance(reply, kind):
                        return reply
                    self.kill()
                    raise TrainerDied(
                        f"the trainer answered {type(reply).__name__} instead of {kind.__name__}"
                    )

    def _death(self, child: Child[TrainerReply]) -> TrainerDied:
        how = child.how_ended(timeout=10)
        child.end_group()  # children of a backend would keep its memory and port
        self._ready = None
        short = kills_for_memory() > self._kills_for_memory
        return ended(
            self._settings, how, child.ended_by_signal, self.log_path, memory_was_short=short
        )
