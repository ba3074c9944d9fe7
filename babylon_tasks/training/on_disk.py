"""Backends whose checkpoints are folders on this machine, in ART's layout: ``cpu``, ``local``."""

from __future__ import annotations

import asyncio
import shutil
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from babylon_tasks.errors import TrainingError
from babylon_tasks.records import Group
from babylon_tasks.training.art_backend import ArtBackend, OnProgress, finite
from babylon_tasks.training.protocol import BackendStep, Progress, StepValue, Train, Trained


class OnDisk(ArtBackend):
    """Backends whose checkpoints are folders on this machine, in ART's layout."""

    @property
    def checkpoints(self) -> Path:
        from art.utils.output_dirs import get_model_dir

        return Path(get_model_dir(model=self.model, art_path=self.start.data_dir)) / "checkpoints"

    def _options(self, request: Train) -> dict[str, Any]:
        return {
            "kl_penalty_coef": request.kl_coefficient,
            "packed_sequence_length": self.start.packed_sequence_length,
            "allow_training_without_logprobs": request.allow_without_logprobs,
        }

    async def train(self, request: Train, groups: Sequence[Group], tell: OnProgress) -> Trained:
        from babylon_tasks.training.checkpoints import adapter_hash, newest_step, write_record

        before = newest_step(self.checkpoints)
        if before != request.base_step:
            raise TrainingError(
                f"the step starts from {request.base_step} but the backend stands at {before}; "
                "nothing was trained"
            )
        parent = before if request.parent_step is None else request.parent_step
        await self._branch(before, parent)
        result = await self._run(request, groups, tell, self._options(request))
        folder = self.checkpoints / f"{result.step:04d}"
        trained = Trained(
            step=result.step,
            gradient_steps=int(result.metrics.get("data/step_num_gradient_steps", 0)),
            trainable_tokens=int(result.metrics.get("data/step_trainer_tokens", 0)),
            adapter_hash=adapter_hash(folder),
            base_adapter_hash=adapter_hash(self.checkpoints / f"{parent:04d}"),
            uri=str(folder),
            inference_name=self.model.get_inference_name(result.step),
            manifest_hash=request.manifest_hash,
            metrics=finite(result.metrics),
        )
        if result.step > before:
            write_record(folder, trained)
        return trained

    async def _branch(self, newest: int, parent: int) -> None:
        if parent != newest:
            raise TrainingError(
                f"backend {self.start.backend} trains on from its newest step {newest} only, "
                f"not from {parent}"
            )

    async def step(self) -> BackendStep:
        from babylon_tasks.training.checkpoints import newest_step, read_record

        newest = newest_step(self.checkpoints)
        return BackendStep(
            step=newest, trained=read_record(self.checkpoints / f"{newest:04d}") if newest else None
        )

    async def discard(self, step: int) -> BackendStep:
        from babylon_tasks.training.checkpoints import newest_step

        newest = newest_step(self.checkpoints)
        if step != newest or step == 0:
            raise TrainingError(f"asked to discard step {step}, but the newest step is {newest}")
        folder = self.checkpoints / f"{step:04d}"
        grave = self.checkpoints / f".discarded-{step:04d}"
        shutil.rmtree(grave, ignore_errors=True)  # of a process that died over it
        folder.rename(grave)  # gone at once for every reader, then removed at leisure
        shutil.rmtree(grave)
        return await self.step()


class Cpu(OnDisk):
    def _make(self) -> Any:
        from babylon_tasks.training.cpu import CPUBackend

        return CPUBackend(path=self.start.data_dir, seed=self.start.seed)

    async def _branch(self, newest: int, parent: int) -> None:
        del newest  # any checkpoint whose weights are here will do
        service = await self.art._get_service(self.model)
        if not service.policy.has_step(parent):
            raise TrainingError(f"checkpoint {parent} is not on this machine to train on from")
        service.parent_step = parent

    async def discard(self, step: int) -> BackendStep:
        (await self.art._get_service(self.model)).forget(step)
        return await super().discard(step)

    async def values(
        self, steps: Sequence[int], groups: Sequence[Group], tell: OnProgress
    ) -> list[StepValue]:
        from babylon_tasks.training.value import step_value

        policy = (await self.art._get_service(self.model)).policy
        found = []
        for number, step in enumerate(steps):
            found.append(await asyncio.to_thread(step_value, policy, step, groups))
            tell(Progress(done=number + 1, total=len(steps)))
        return found


class Local(OnDisk):
    """ART's LocalBackend as it is (unsloth, vLLM). Has not run here: this machine has no GPU."""

    def _make(self) -> Any:
        from art.local import LocalBackend

        return LocalBackend(path=self.start.data_dir)

    def _options(self, request: Train) -> dict[str, Any]:
        # ART's own packing length and chunk alignment belong to its GPU kernels.
        return {**super()._options(request), "packed_sequence_length": None}
