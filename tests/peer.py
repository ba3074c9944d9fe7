"""A trainer without a neural network that keeps a real one's word: files, steps, records.

It reads the groups file, writes checkpoints in ART's layout and reports what lies on disk
afterwards. Several of them on one folder are the same backend, as after a worker's death.
``falls`` says how it misbehaves, by the point where it does.
"""

from __future__ import annotations

import hashlib
import shutil
from collections.abc import Callable, Sequence
from pathlib import Path

import msgspec
from msgspec import structs

from babylon_tasks.errors import TrainerDied, TrainingError
from babylon_tasks.step_records import StepResult
from babylon_tasks.training import back_to_parent, checkpoints
from babylon_tasks.training.base import OnProgress
from babylon_tasks.training.committed import CommittedCheckpoints
from babylon_tasks.training.data_folder import FolderLock
from babylon_tasks.training.groups_file import read_groups
from babylon_tasks.training.protocol import (
    BackendStep,
    Checked,
    CheckRequest,
    Evaluated,
    EvaluateRequest,
    Inspected,
    InspectRequest,
    LoggedStep,
    Refusal,
    RequestProgress,
    StepValue,
    TrainRequest,
    Weight,
)
from babylon_tasks.training.trainer_start import TrainerReady


class PeerTrainer:
    """``falls``: before_writing, after_writing (it dies there), idle (it copies the checkpoint
    and reports success, as ART does with nothing trainable), uncounted (ART has renamed its count
    of tokens), diverges (its loss is NaN), refuses (a failure it survives), inspecting (it dies
    over candidates), logging (it can log nothing), before_discarding, discarding, after_discarding
    (it dies over a dead branch). ``values``, ``entropy`` and ``says``: of checkpoints, by
    step. ``measured``: the metrics of a step. ``lock``: on its folder, as a real trainer has.
    ``remote``: what is set aside stays where it is, as at W&B."""

    def __init__(
        self,
        data_dir: Path,
        lineage: str = "babylon",
        *,
        falls: str | None = None,
        during: Callable[[], None] | None = None,
        values: dict[int, float] | None = None,
        entropy: dict[int, float] | None = None,
        says: dict[int, dict[str, float]] | None = None,
        branches: bool = True,
        remote: bool = False,
        names: str = "{lineage}@{step}",
        refusals: Sequence[Refusal] = (),
        measured: dict[str, float] | None = None,
        lock: FolderLock | None = None,
    ) -> None:
        self.lock = lock
        self.folder = data_dir / "babylon" / "models" / lineage / "checkpoints"
        self.lineage = lineage
        self.falls = falls
        self.during = during
        self.values = values or {}
        self.entropy = entropy or {}
        self.says = says or {}
        self.branches = branches
        self.remote = remote
        self.names = names
        self.refusals = tuple(refusals)
        self.measured = {"loss/train": 0.5} if measured is None else measured
        self.inspected: list[InspectRequest] = []
        self.requests: list[TrainRequest] = []
        self.evaluated: list[tuple[int, ...]] = []
        self.checked: list[tuple[int, ...]] = []
        self.discarded: list[tuple[int, tuple[int, ...]]] = []  # parents, and what was dead
        self.deleted: list[tuple[int, ...]] = []  # as if the checkpoints were elsewhere
        self.logged: list[LoggedStep] = []
        self.history = self.folder.with_name("history.jsonl")
        self.killed = False
        self.closed = False
        self.url = "http://127.0.0.1:8100/v1"

    def ready(self) -> TrainerReady:
        self.folder.mkdir(parents=True, exist_ok=True)
        if not self.branches and not self.remote:  # as ART's own backend on a card begins
            self._at(0).mkdir(exist_ok=True)
            (self._at(0) / checkpoints.WEIGHTS).write_bytes(b"0")
        ready = TrainerReady(
            "serverless" if self.remote else "cpu", self.url, self._name(0), self.branches
        )
        if self.lock is None:
            return ready
        return structs.replace(ready, folder_id=self.lock.folder_id, lock_name=self.lock.name)

    def backend_step(self) -> BackendStep:
        newest = checkpoints.newest_step(self.folder)
        record = None if newest == 0 else checkpoints.read_record(self._at(newest))
        return BackendStep(newest, record)

    def check(self, request: CheckRequest) -> Checked:
        self.checked.append(request.steps)
        if self.remote:
            return Checked({})  # the files are not at hand
        known = CommittedCheckpoints(self.folder)
        known.expect(request.committed)
        found = {step: known.damage(step) for step in request.steps}
        return Checked({step: why for step, why in found.items() if why is not None})

    def inspect(self, request: InspectRequest, on_progress: OnProgress) -> Inspected:
        """Refuses what it is configured to refuse; a token is four characters."""
        if self.falls == "inspecting":
            raise TrainerDied("the trainer was ended by signal SIGKILL")
        self.inspected.append(request)
        groups = read_groups(request.groups_path)
        on_progress(RequestProgress(0, len(groups)))
        refused = {(one.trajectory_id, one.call) for one in self.refusals}
        weights, met = [], set()
        for group in groups:
            lengths = [0]
            for member in group.members:
                for index, call in enumerate(member.calls):
                    if (member.trajectory_id, index) in refused:
                        met.add((member.trajectory_id, index))
                        continue
                    characters = sum(len(text) for _, text in call.messages)
                    lengths.append(characters // 4 + len(call.token_ids or call.response))
            weights.append(Weight(sum(lengths), max(lengths)))
        return Inspected(
            tuple(one for one in self.refusals if (one.trajectory_id, one.call) in met),
            tuple(weights),
        )

    def train(self, request: TrainRequest, on_progress: OnProgress) -> StepResult:
        self.requests.append(request)
        if self.falls == "refuses":
            raise TrainingError("the groups do not fit into memory")
        base = checkpoints.newest_step(self.folder)
        groups = read_groups(request.groups_path)
        on_progress(RequestProgress(0, len(groups)))
        if self.during is not None:
            self.during()
        if self.killed or self.falls == "before_writing":
            raise TrainerDied("the trainer was ended by signal SIGKILL")
        parent = base if request.parent_step is None else request.parent_step
        before = checkpoints.adapter_hash(self._at(parent))
        if not self.branches and before != checkpoints.adapter_hash(self._at(base)):
            raise TrainingError(f"trains on from its newest step {base} only, not from {parent}")
        folder = self._at(base + 1)
        folder.mkdir(parents=True)
        weights = folder / checkpoints.WEIGHTS
        (folder / checkpoints.CONFIG).write_text("{}")
        trains = self.falls != "idle"
        if trains:
            weights.write_bytes(hashlib.sha256(f"{before}{request}".encode()).digest())
        elif before is not None:
            shutil.copy(self._at(parent) / weights.name, weights)
        calls = [c for group in groups for member in group.members for c in member.calls]
        trained = StepResult(
            step=base + 1,
            gradient_steps=len(groups) if trains else 0,
            trainable_tokens=sum(len(c.logprobs or ("?",)) for c in calls) if trains else 0,
            adapter_hash=checkpoints.adapter_hash(folder),
            base_adapter_hash=before,
            uri=str(folder),
            inference_name=self._name(base + 1),
            manifest_hash=request.manifest_hash,
            metrics={} if self.falls == "diverges" else self.measured,
            files=checkpoints.hash_files(folder),
            not_finite={"loss/train": "nan"} if self.falls == "diverges" else {},
            not_reported=("trained tokens",) if self.falls == "uncounted" else (),
        )
        checkpoints.write_record(folder, trained)
        if self.falls == "after_writing":
            raise TrainerDied("the trainer was ended by signal SIGKILL")
        return trained

    def evaluate(self, request: EvaluateRequest, on_progress: OnProgress) -> Evaluated:
        groups = read_groups(request.groups_path)
        self.evaluated.append(request.steps)
        on_progress(RequestProgress(0, len(groups) * len(request.steps)))
        found = []
        for step in request.steps:
            if step and not self._at(step).exists():
                raise TrainingError(f"checkpoint {step} does not exist")
            value, entropy = self.values.get(step, 0.5), self.entropy.get(step, 0.3)
            figures = ((figure,) * len(groups) for figure in (value, 0.9, entropy))
            said = (self.says.get(step, {}),) * len(groups)
            found.append(StepValue(step, *figures, said))
        return Evaluated(tuple(found))

    def discard(self, step: int) -> BackendStep:
        if step != checkpoints.newest_step(self.folder):
            raise TrainingError(f"step {step} is not the newest")
        shutil.rmtree(self._at(step))
        return self.backend_step()

    def set_aside(self, step: int, folder: str) -> BackendStep:
        if step != checkpoints.newest_step(self.folder):
            raise TrainingError(f"step {step} is not the newest")
        if not self.remote:
            aside = self.folder.with_name(checkpoints.SET_ASIDE)
            aside.mkdir(exist_ok=True)
            self._at(step).rename(aside / folder)
        return self.backend_step()

    def discard_branch(self, parent: int, steps: Sequence[int], folder: str) -> BackendStep:
        """At W&B the dead ones go; on disk the newest is set aside, and its parent copied there."""
        self.discarded.append((parent, tuple(steps)))
        if self.falls == "before_discarding":
            raise TrainerDied("the trainer was ended by signal SIGKILL")
        if not self.remote:
            back_to_parent.go_back(self.folder, parent, folder)
        for step in sorted(steps if self.remote else (), reverse=True):
            shutil.rmtree(self._at(step), ignore_errors=True)
            if self.falls == "discarding":
                break
        if self.falls in ("discarding", "after_discarding"):
            raise TrainerDied("the trainer was ended by signal SIGKILL")
        return self.backend_step()

    def delete(self, steps: Sequence[int]) -> None:
        self.deleted.append(tuple(steps))

    def log_steps(self, steps: Sequence[LoggedStep]) -> int:
        """Add a line for each step, which other trainers on this folder read."""
        if self.falls == "logging":
            raise TrainingError("no space left on device")
        for step in steps:
            self.logged.append(step)
            with self.history.open("ab") as history:
                history.write(msgspec.json.encode(step) + b"\n")
        lines = self.history.read_bytes().splitlines() if self.history.exists() else []
        return max((msgspec.json.decode(line, type=LoggedStep).step for line in lines), default=0)

    def kill(self) -> None:
        self.killed = True

    def close(self) -> None:
        """Nothing runs between calls; it is only noted."""
        self.closed = True

    def _name(self, step: int) -> str:
        return self.names.format(lineage=self.lineage, step=step)

    def _at(self, step: int) -> Path:
        return self.folder / f"{step:04d}"
