"""Checkpoints in folders on this machine, in ART's layout, and the backend ``cpu``."""

from __future__ import annotations

import asyncio
import sys
from collections.abc import Callable, Sequence
from functools import cache, cached_property
from pathlib import Path
from typing import Any

from msgspec import structs

from babylon_tasks.dataset.eligibility import EXACT, RESCORED, PolicyNames, policy_step
from babylon_tasks.errors import CannotEvaluate, TrainingError
from babylon_tasks.reasons import Reason
from babylon_tasks.records import Group, LlmCall, StepResult, SupervisedConfig
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
from babylon_tasks.training.inference.limits import Limits
from babylon_tasks.training.inspect_calls import InspectedCall, Inspector, refused, with_calls
from babylon_tasks.training.protocol import (
    BackendStep,
    Checked,
    CheckRequest,
    ComputesOn,
    Inspected,
    InspectRequest,
    OnProgress,
    RequestProgress,
    StepValue,
    TrainRequest,
)
from babylon_tasks.training.supervised_batches import batches


class DiskBackend(ArtBackend):
    """Backends whose checkpoints are folders on this machine, in ART's layout."""

    @property
    def checkpoints(self) -> Path:
        from art.utils.output_dirs import get_model_dir

        return Path(get_model_dir(model=self.model, art_path=self.start.data_dir)) / "checkpoints"

    @cached_property
    def committed(self) -> CommittedCheckpoints:
        return CommittedCheckpoints(self.checkpoints)

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
        return await asyncio.to_thread(inspector.inspect, groups, _counting(on_progress, "groups"))

    async def _as_sampled(
        self, request: TrainRequest, groups: Sequence[Group], on_progress: OnProgress
    ) -> tuple[Group, ...]:
        """Prove each call's tokens once more before packing: nothing unproven is trained on."""
        inspector = await self._inspector(request.packed_sequence_length, request.logprobs)
        counting = _counting(on_progress, "calls tokenised")
        proofs = await asyncio.to_thread(inspector.proofs, groups, counting)
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
        counting = _counting(on_progress, "answers tokenised")
        return await asyncio.to_thread(tokenize_all, tokenizer, groups, counting)

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


class CpuTraining(DiskBackend):
    def _make(self) -> Any:
        from babylon_tasks.training.cpu import CPUBackend
        from babylon_tasks.training.device import choose_device, described, use_threads

        start = self.start
        device = choose_device(start.torch_device)
        threads, why = use_threads(start.torch_threads)
        card = device.name if device.on_card else ""
        text = f"{described(device)}; {threads} threads ({why})"
        self.computes_on = ComputesOn(str(device.place), card, text)
        print(f"computing on {self.computes_on.text}", file=sys.stderr, flush=True)
        limits = None
        if start.serves:
            limits = Limits(start.inference_max_requests, start.inference_timeout_seconds)
        return CPUBackend(path=start.data_dir, limits=limits, device=device)

    async def open(self) -> None:
        from babylon_tasks.training.row_memory import longest_row

        await super().open()
        policy = (await self.art._get_service(self.model)).policy
        policy.committed = self.committed
        self.longest_row = longest_row(policy.network.config, policy.device)

    async def _inspector(self, longest: int, label: str) -> Inspector:
        service = await self.art._get_service(self.model)
        policy = service.policy
        return Inspector(service.tokenizer, policy.token_text, min(longest, policy.longest), label)

    async def _with_logprobs(
        self, request: TrainRequest, proofs: Sequence[InspectedCall], on_progress: OnProgress
    ) -> list[LlmCall]:
        from babylon_tasks.training.rescoring import rescored

        if request.logprobs == EXACT:
            return await super()._with_logprobs(request, proofs, on_progress)
        policy = (await self.art._get_service(self.model)).policy
        parent = request.base_step if request.parent_step is None else request.parent_step

        def checkpoint_of(call: LlmCall) -> int:
            return self._answered_by(call) if request.logprobs == RESCORED else parent

        counting = _counting(on_progress, "prompts whose answers have log-probabilities")
        return await asyncio.to_thread(rescored, policy, proofs, checkpoint_of, counting)

    async def inspect(
        self, request: InspectRequest, groups: Sequence[Group], on_progress: OnProgress
    ) -> Inspected:
        inspected = await super().inspect(request, groups, on_progress)
        if request.logprobs != RESCORED:
            return inspected
        policy = (await self.art._get_service(self.model)).policy

        damage_of = cache(self.committed.damage)

        def gone(call: LlmCall) -> tuple[Reason, str] | None:
            step = self._answered_by(call)
            if not policy.has_step(step):
                where = "are not on this machine"
                return Reason.WEIGHTS_GONE, f"the weights of checkpoint {step} {where}"
            damage = damage_of(step)
            return None if damage is None else (Reason.WEIGHTS_GONE, damage)

        return structs.replace(inspected, refusals=(*inspected.refusals, *refused(groups, gone)))

    def _answered_by(self, call: LlmCall) -> int:
        start = self.start
        step = policy_step(call, PolicyNames(lineage=start.lineage, base_model=start.base_model))
        if isinstance(step, str):
            raise TrainingError(
                f"{call.model} is not a checkpoint of lineage {start.lineage}: {step}"
            )
        return step

    async def train(
        self, request: TrainRequest, groups: Sequence[Group], on_progress: OnProgress
    ) -> StepResult:
        from babylon_tasks.training.importance_ratios import StepRatios  # imports torch

        service = await self.art._get_service(self.model)
        service.seed = request.seed
        service.ratios = StepRatios(request.max_mismatch_kl)
        return await super().train(request, groups, on_progress)

    async def _ratios(self) -> dict[str, float]:
        found: dict[str, float] = (await self.art._get_service(self.model)).ratios.metrics()
        return found

    async def _supervised(
        self,
        request: TrainRequest,
        config: SupervisedConfig,
        groups: Sequence[Group],
        on_progress: OnProgress,
    ) -> dict[str, float]:
        service = await self.art._get_service(self.model)
        row_length = min(request.packed_sequence_length, service.policy.longest)
        tokenizer = AnswerTokenizer(service.tokenizer, service.policy.token_text, row_length)
        answers = await self._answers(tokenizer, groups, on_progress)
        planned = batches(answers, config, learning_rate=request.learning_rate, seed=request.seed)
        steps = service.supervise(planned, row_length)
        return await self._supervise(request, groups, steps, on_progress)

    async def _branch(self, newest: int, parent: int) -> None:
        del newest  # any checkpoint with weights on this machine can be the parent
        service = await self.art._get_service(self.model)
        if not service.policy.has_step(parent):
            raise TrainingError(
                f"cannot train on from checkpoint {parent}: its weights are not on this machine"
            )
        service.parent_step = parent

    async def discard(self, step: int) -> BackendStep:
        (await self.art._get_service(self.model)).forget(step)
        return await super().discard(step)

    async def set_aside(self, step: int, folder: str) -> BackendStep:
        (await self.art._get_service(self.model)).forget(step)
        return await super().set_aside(step, folder)

    async def values(
        self, steps: Sequence[int], groups: Sequence[Group], on_progress: OnProgress
    ) -> list[StepValue]:
        from babylon_tasks.training.off_policy_evaluation import step_value

        policy = (await self.art._get_service(self.model)).policy
        counting = _counting(on_progress, "held-out groups")
        values = []
        for number, step in enumerate(steps):

            def on_group(done: int, total: int, before: int = number) -> None:
                counting(before * total + done, len(steps) * total)

            try:
                values.append(await asyncio.to_thread(step_value, policy, step, groups, on_group))
            except (ValueError, TypeError, LookupError) as error:
                raise CannotEvaluate(
                    f"the held-out groups cannot be evaluated: {type(error).__name__}: {error}"
                ) from error
        return values


def _counting(on_progress: OnProgress, counted: str) -> Callable[[int, int], None]:
    def count(done: int, total: int) -> None:
        on_progress(RequestProgress(done=done, total=total, counted=counted))

    return count
