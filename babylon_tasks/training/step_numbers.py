"""The numbers that checkpoints have at W&B, and ours: translated here and nowhere else.

W&B numbers a checkpoint by the newest one that it has, so that the number of one that was discarded
comes again. Ours never do: rows and captured calls name them. The checkpoint that the next step
starts from counts there as our head, whatever became of those between the two.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence, Set

from msgspec import Struct, structs

from babylon_tasks.db import lineages
from babylon_tasks.db.session import session
from babylon_tasks.errors import TrainingError
from babylon_tasks.settings import Settings
from babylon_tasks.step_records import StepResult
from babylon_tasks.training.base import TrainerLike
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


class StepNumbers(Struct, frozen=True):
    """Pure. ``theirs``: of the checkpoints that are not discarded, step 0 included.

    ``dead`` are those of them that are being discarded, the newest first.
    """

    head: int
    theirs: Mapping[int, int]
    dead: Set[int] = frozenset()

    @property
    def _newest(self) -> int:
        return max(self.theirs.values())

    def of_backend(self, step: int) -> int:
        """Return the number at the backend; raises TrainingError where it has none any more."""
        if step > self.head:
            return self._newest + step - self.head
        if step in self.theirs:
            return self.theirs[step]
        if step == self.head:
            return self._newest
        raise TrainingError(
            f"checkpoint {step} was discarded at the backend, so it can neither be trained from "
            "nor asked; `babylon-tasks models list` lists the checkpoints"
        )

    def of_ours(self, number: int) -> int:
        """Return our number of what the backend has; the head while a dead branch is discarded."""
        if number > self._newest:
            return self.head + number - self._newest
        living = max(theirs for step, theirs in self.theirs.items() if step not in self.dead)
        if number >= living:
            return self.head
        return max((ours for ours, theirs in self.theirs.items() if theirs <= number), default=0)


class NumberedTrainer:
    """A trainer that is asked, and answers, by our numbers, whatever the backend calls them."""

    def __init__(self, trainer: TrainerLike, read: Callable[[], StepNumbers]) -> None:
        self._trainer = trainer
        self._read = read

    def ready(self) -> TrainerReady:
        """Start it unless it runs."""
        return self._trainer.ready()

    @property
    def _numbers(self) -> StepNumbers | None:
        # Elsewhere a checkpoint is a folder, which is named by our number.
        return self._read() if self._trainer.ready().backend == "serverless" else None

    def backend_step(self) -> BackendStep:
        """Return the newest checkpoint."""
        found, numbers = self._trainer.backend_step(), self._numbers
        if numbers is None:
            return found
        return structs.replace(found, step=numbers.of_ours(found.step))

    def check(self, request: CheckRequest) -> Checked:
        """Find damaged files: where there are any, their numbers are ours."""
        return self._trainer.check(request)

    def inspect(self, request: InspectRequest, on_progress: OnProgress) -> Inspected:
        """Find calls that would not be trained on as they were sampled."""
        return self._trainer.inspect(request, on_progress)

    def train(self, request: TrainRequest, on_progress: OnProgress) -> StepResult:
        """Run one training step."""
        numbers = self._numbers
        if numbers is None:
            return self._trainer.train(request, on_progress)
        parent = request.parent_step
        asked = structs.replace(
            request,
            base_step=numbers.of_backend(request.base_step),
            parent_step=None if parent is None else numbers.of_backend(parent),
        )
        made = self._trainer.train(asked, on_progress)
        ours = numbers.of_ours(made.step)
        return structs.replace(
            made, step=ours, backend_step=None if ours == made.step else made.step
        )

    def evaluate(self, request: EvaluateRequest, on_progress: OnProgress) -> Evaluated:
        """Evaluate checkpoints."""
        numbers = self._numbers
        if numbers is None:
            return self._trainer.evaluate(request, on_progress)
        theirs = tuple(numbers.of_backend(step) for step in request.steps)
        answer = self._trainer.evaluate(structs.replace(request, steps=theirs), on_progress)
        ours = dict(zip(theirs, request.steps, strict=True))
        return Evaluated(
            tuple(structs.replace(one, step=ours.get(one.step, -1)) for one in answer.steps)
        )

    def discard(self, step: int) -> BackendStep:
        """Remove the newest checkpoint."""
        return self._answered(self._trainer.discard, step)

    def set_aside(self, step: int, folder: str) -> BackendStep:
        """Set the newest checkpoint aside."""
        return self._answered(lambda number: self._trainer.set_aside(number, folder), step)

    def discard_branch(self, parent: int, steps: Sequence[int], folder: str) -> BackendStep:
        """Discard dead checkpoints, the newest first."""
        numbers = self._numbers
        if numbers is None:
            return self._trainer.discard_branch(parent, steps, folder)
        theirs = [numbers.of_backend(step) for step in steps]
        left = self._trainer.discard_branch(numbers.of_backend(parent), theirs, folder)
        return structs.replace(left, step=numbers.of_ours(left.step))

    def delete(self, steps: Sequence[int]) -> None:
        """Delete pruned checkpoints."""
        numbers = self._numbers
        self._trainer.delete(steps if numbers is None else [*map(numbers.of_backend, steps)])

    def log_steps(self, steps: Sequence[LoggedStep]) -> int:
        """Log committed steps, in ART's history, whose numbers are ours."""
        return self._trainer.log_steps(steps)

    def kill(self) -> None:
        """End it at once."""
        self._trainer.kill()

    def close(self) -> None:
        """End it in order."""
        self._trainer.close()

    def _answered(self, ask: Callable[[int], BackendStep], step: int) -> BackendStep:
        numbers = self._numbers
        if numbers is None:
            return ask(step)
        left = ask(numbers.of_backend(step))
        return structs.replace(left, step=numbers.of_ours(left.step))


def numbered(settings: Settings, trainer: TrainerLike) -> NumberedTrainer:
    """Let a trainer be asked by our numbers, as the database has them at each call."""

    def read() -> StepNumbers:
        with session(settings) as connection:
            rows = lineages.at_backend(connection, settings.lineage)
            lineage = lineages.get(connection, settings.lineage)
        return StepNumbers(
            head=0 if lineage is None else lineage.head_step,
            theirs={0: 0} | {row.step: row.backend_step for row in rows},
            dead=frozenset(row.step for row in rows if row.dead),
        )

    return trainer if isinstance(trainer, NumberedTrainer) else NumberedTrainer(trainer, read)
