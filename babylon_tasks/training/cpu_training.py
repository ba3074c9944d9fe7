"""The backend ``cpu`` in a trainer: ART's call of it, and what is ours around a step.

The model, its gradient steps and its endpoint are in ``cpu_service.py``.
"""

from __future__ import annotations

import asyncio
import sys
from collections.abc import Sequence
from functools import cache, cached_property
from typing import TYPE_CHECKING, Any

from msgspec import structs

from babylon_tasks.dataset.eligibility import EXACT, RESCORED, PolicyNames, policy_step
from babylon_tasks.errors import CannotEvaluate, TrainingError
from babylon_tasks.reasons import Reason
from babylon_tasks.records import Group, LlmCall
from babylon_tasks.step_records import StepResult, SupervisedConfig
from babylon_tasks.training.answer_tokens import AnswerTokenizer
from babylon_tasks.training.disk_backend import DiskBackend, counting
from babylon_tasks.training.inference.limits import Limits
from babylon_tasks.training.inspect_calls import InspectedCall, Inspector, refused
from babylon_tasks.training.protocol import (
    BackendStep,
    Inspected,
    InspectRequest,
    OnProgress,
    StepValue,
    TrainRequest,
)
from babylon_tasks.training.supervised_batches import batches
from babylon_tasks.training.trainer_start import ComputesOn

if TYPE_CHECKING:
    from babylon_tasks.training.off_policy_evaluation import ValuesOfSteps


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
        longest = min(longest, policy.longest)
        return Inspector(service.tokenizer, policy.token_text, longest, label, self.kept_proofs)

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

        count = counting(on_progress, "prompts whose answers have log-probabilities")
        return await asyncio.to_thread(rescored, policy, proofs, checkpoint_of, count)

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
        names = PolicyNames(
            lineage=start.lineage,
            base_model=start.base_model,
            base_model_aliases=start.base_model_aliases,
        )
        step = policy_step(call, names)
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
        planned = batches(
            answers,
            config,
            learning_rate=request.learning_rate,
            seed=request.seed,
            alike=lambda one: one.prompt,
        )
        steps = service.supervise(planned, row_length, config.decision_weight)
        return await self._supervise(request, groups, steps, on_progress)

    async def _branch(self, newest: int, parent: int) -> None:
        del newest  # any checkpoint with weights on this machine can be the parent
        service = await self.art._get_service(self.model)
        if not service.policy.has_step(parent):
            raise TrainingError(
                f"cannot train on from checkpoint {parent}: its weights are not on this machine"
            )
        service.parent_step = parent

    @cached_property
    def _values_of(self) -> ValuesOfSteps:
        from babylon_tasks.training.off_policy_evaluation import ValuesOfSteps  # imports torch

        return ValuesOfSteps()

    async def discard(self, step: int) -> BackendStep:
        self._values_of.forget(step)
        (await self.art._get_service(self.model)).forget(step)
        return await super().discard(step)

    async def set_aside(self, step: int, folder: str) -> BackendStep:
        self._values_of.forget(step)
        (await self.art._get_service(self.model)).forget(step)
        return await super().set_aside(step, folder)

    async def values(
        self, steps: Sequence[int], groups: Sequence[Group], on_progress: OnProgress
    ) -> list[StepValue]:
        from babylon_tasks.training.off_policy_evaluation import step_value

        policy = (await self.art._get_service(self.model)).policy
        count = counting(on_progress, "held-out groups")
        values = []
        for number, step in enumerate(steps):

            def on_group(done: int, total: int, before: int = number) -> None:
                count(before * total + done, len(steps) * total)

            try:
                known = self._values_of.known(step)
                values.append(
                    await asyncio.to_thread(step_value, policy, step, groups, on_group, known)
                )
            except (ValueError, TypeError, LookupError) as error:
                raise CannotEvaluate(
                    f"the held-out groups cannot be evaluated: {type(error).__name__}: {error}"
                ) from error
        return values
