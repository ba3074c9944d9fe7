"""Checkpoints in folders on this machine, in ART's layout: what ``cpu`` and ``local`` share."""

from __future__ import annotations

import asyncio
import sys
from collections.abc import Callable, Sequence
from functools import cached_property
from pathlib import Path
from typing import Any

from babylon_tasks.dataset.eligibility import EXACT
from babylon_tasks.errors import TrainingError
from babylon_tasks.records import Group, LlmCall
from babylon_tasks.step_records import StepResult, SupervisedConfig
from babylon_tasks.training.answer_tokens import AnswerTokenizer, AnswerTokens, tokenize_all
from babylon_tasks.training.art_backend import ArtBackend
from babylon_tasks.training.checkpoints import (
    SET_ASIDE,
    adapter_hash,
    hash_files,
    newest_step,
    read_record,
    remove,
    sync,
    write_record,
)
from babylon_tasks.training.committed import CommittedCheckpoints
from babylon_tasks.training.inspect_calls import InspectedCall, Inspector, with_calls
from babylon_tasks.training.kept_proofs import KeptProofs
from babylon_tasks.training.protocol import (
    BackendStep,
    Checked,
    CheckRequest,
    Inspected,
    InspectRequest,
    OnProgress,
    RequestProgress,
    TrainRequest,
)


class DiskBackend(ArtBackend):
    """Backends whose checkpoints are folders on this machine, in ART's layout."""

    @property
    def checkpoints(self) -> Path:
        from art.utils.output_dirs import get_model_dir

        return Path(get_model_dir(model=self.model, art_path=self.start.data_dir)) / "checkpoints"

    @cached_property
    def committed(self) -> CommittedCheckpoints:
        return CommittedCheckpoints(self.checkpoints)

    @cached_property
    def kept_proofs(self) -> KeptProofs:
        return KeptProofs()

    async def check(self, request: CheckRequest) -> Checked:
        self.committed.expect(request.committed)
        found = {step: self.committed.damage(step) for step in request.steps}
        return Checked({step: why for step, why in found.items() if why is not None})

    def _options(self, request: TrainRequest) -> dict[str, Any]:
        return {
            "kl_penalty_coef": request.kl_coefficient,
            "packed_sequence_length": request.packed_sequence_length,
        }

    async def _inspector(self, longest: int, label: str) -> Inspector:
        raise NotImplementedError

    async def inspect(
        self, request: InspectRequest, groups: Sequence[Group], on_progress: OnProgress
    ) -> Inspected:
        inspector = await self._inspector(request.packed_sequence_length, request.logprobs)
        return await asyncio.to_thread(inspector.inspect, groups, counting(on_progress, "groups"))

    async def _as_sampled(
        self, request: TrainRequest, groups: Sequence[Group], on_progress: OnProgress
    ) -> tuple[Group, ...]:
        """Prove each call's tokens before packing, where this trainer has not: none is unproven."""
        inspector = await self._inspector(request.packed_sequence_length, request.logprobs)
        count = counting(on_progress, "calls tokenised")
        proofs = await asyncio.to_thread(inspector.proofs, groups, count)
        return with_calls(groups, await self._with_logprobs(request, proofs, on_progress))

    async def _with_logprobs(
        self, request: TrainRequest, proofs: Sequence[InspectedCall], on_progress: OnProgress
    ) -> list[LlmCall]:
        """Return the calls with a log-probability for each token, made as the step's label says."""
        del on_progress
        if request.logprobs != EXACT:
            raise TrainingError(f"{self._needs_exact(request.logprobs)}; nothing was trained")
        return [proof.call for proof in proofs]

    def _needs_exact(self, label: str) -> str:
        return (
            f"backend {self.start.backend} cannot compute log-probabilities, which `{label}` needs"
        )

    async def train(
        self, request: TrainRequest, groups: Sequence[Group], on_progress: OnProgress
    ) -> StepResult:
        before = newest_step(self.checkpoints)
        parent = await self._start_from(request, before)
        self.committed.require_intact(parent)
        if request.supervised is None:
            sampled = await self._as_sampled(request, groups, on_progress)
            result = await self._run(request, sampled, on_progress, self._options(request))
            metrics = result.metrics
        else:
            metrics = await self._supervised(request, request.supervised, groups, on_progress)
        step = newest_step(self.checkpoints)
        folder = self.checkpoints / f"{step:04d}"
        trained = self._result(
            request,
            metrics,
            step,
            adapter=adapter_hash(folder),
            base_adapter=adapter_hash(self.checkpoints / f"{parent:04d}"),
            uri=str(folder),
            files=hash_files(folder),
        )
        if step > before:
            write_record(folder, trained)
            self.committed.expect([trained.as_committed()])
        return trained

    async def _supervised(
        self,
        request: TrainRequest,
        config: SupervisedConfig,
        groups: Sequence[Group],
        on_progress: OnProgress,
    ) -> dict[str, float]:
        """Make the groups' answers likelier, and write the next checkpoint."""
        raise NotImplementedError

    async def _answers(
        self, tokenizer: AnswerTokenizer, groups: Sequence[Group], on_progress: OnProgress
    ) -> list[AnswerTokens]:
        """Tokenise what a supervised step learns from; raises TrainingError."""
        count = counting(on_progress, "answers tokenised")
        return await asyncio.to_thread(tokenize_all, tokenizer, groups, count)

    async def step(self) -> BackendStep:
        newest = newest_step(self.checkpoints)
        record = read_record(self.checkpoints / f"{newest:04d}") if newest else None
        if record is not None:
            made = CommittedCheckpoints(self.checkpoints)
            made.expect([record.as_committed()])
            damage = made.damage(newest)
            if damage is not None:
                print(f"the record of checkpoint {newest} is void: {damage}", file=sys.stderr)
                record = None
        return BackendStep(step=newest, result=record)

    async def set_aside(self, step: int, folder: str) -> BackendStep:
        newest = newest_step(self.checkpoints)
        if step != newest or step == 0:
            raise TrainingError(f"asked to set aside step {step}, but the newest is {newest}")
        aside = self.checkpoints.with_name(SET_ASIDE)
        aside.mkdir(exist_ok=True)
        (self.checkpoints / f"{step:04d}").rename(aside / folder)
        sync(aside)
        self.committed.forget(step)
        return await self.step()

    async def _remove(self, step: int) -> None:
        folder = self.checkpoints / f"{step:04d}"
        trash = self.checkpoints / f".discarded-{step:04d}"
        remove(trash)  # left by a process that died meanwhile
        folder.rename(trash)  # invisible to readers at once; deleting takes longer
        self.committed.forget(step)
        remove(trash)


def counting(on_progress: OnProgress, counted: str) -> Callable[[int, int], None]:
    """Report how many of what is ``counted`` are done, and of how many."""

    def count(done: int, total: int) -> None:
        on_progress(RequestProgress(done=done, total=total, counted=counted))

    return count
