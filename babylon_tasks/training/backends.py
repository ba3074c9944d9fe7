"""The three ART backends behind one interface, and the rule that chooses between them."""

from __future__ import annotations

import asyncio
import math
import shutil
from collections.abc import Awaitable, Callable, Sequence
from importlib.util import find_spec
from pathlib import Path
from typing import Any, Protocol

from babylon_tasks.errors import BackendUnavailable, TrainingError
from babylon_tasks.records import Group, LlmCall
from babylon_tasks.settings import Settings
from babylon_tasks.training.protocol import BackendStep, Progress, Start, StepValue, Train, Trained

OnProgress = Callable[[Progress], None]


def choose(settings: Settings) -> str:
    """The backend's name: the setting, or by ``auto`` serverless, local, cpu in that order.

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
        "cpu": ("cpu", ["art", "torch", "transformers", "peft", "uvicorn", "fastapi"]),
    }
    extra, modules = needed[name]
    missing = [module for module in modules if find_spec(module) is None]
    if missing:
        raise BackendUnavailable(
            f"backend {name} needs {', '.join(missing)}; install babylon-tasks[{extra}]"
        )
    return name


class TrainingBackend(Protocol):
    """What the trainer process asks of a backend; ``model`` is ART's TrainableModel."""

    model: Any

    async def open(self) -> None:
        """Load, register with ART, and serve inference where the backend serves it itself."""

    async def step(self) -> BackendStep:
        """The newest checkpoint and, where one was left, the record of how it came about."""

    async def train(self, request: Train, groups: Sequence[Group], tell: OnProgress) -> Trained:
        """One ART training step; what it did is measured, not assumed."""

    async def discard(self, step: int) -> BackendStep:
        """Remove the newest checkpoint; raises TrainingError if ``step`` is not it."""

    async def values(
        self, steps: Sequence[int], groups: Sequence[Group], tell: OnProgress
    ) -> list[StepValue]:
        """The held-out value of each step; raises TrainingError where it cannot be computed."""

    async def close(self) -> None:
        """Release the model and stop serving."""


def make(start: Start) -> TrainingBackend:
    """The named backend, not yet opened."""
    makers: dict[str, Callable[[Start], TrainingBackend]] = {
        "cpu": _Cpu,
        "local": _Local,
        "serverless": _Serverless,
    }
    return makers[start.backend](start)


def art_groups(groups: Sequence[Group]) -> list[Any]:
    """ART's trajectory groups: each call a history of its own, ended by its answer."""
    from art import Trajectory, TrajectoryGroup
    from art.trajectories import History

    made = []
    for group in groups:
        trajectories = []
        for member in group.members:
            histories = []
            for call in member.calls:
                messages: list[Any] = [
                    {"role": role, "content": text} for role, text in call.messages
                ]
                histories.append([*messages, _answer(call)])
            trajectories.append(
                Trajectory(
                    messages_and_choices=histories[0],
                    additional_histories=[
                        History(messages_and_choices=history) for history in histories[1:]
                    ],
                    reward=member.reward,
                    metadata={"trajectory_id": member.trajectory_id},
                )
            )
        made.append(TrajectoryGroup(trajectories))
    return made


def _answer(call: LlmCall) -> Any:
    """A ``Choice`` with the recorded logprobs; a plain message where none were recorded.

    ART trains on a plain message only where it is told to, and breaks over a ``Choice`` without
    logprobs. Token ids become ``token_id:N``, which it turns back into exactly these tokens.
    """
    from openai.types.chat.chat_completion import Choice

    message = {"role": "assistant", "content": call.response}
    if call.logprobs is None:
        return message
    words = (
        [f"token_id:{token}" for token in call.token_ids]
        if call.token_ids is not None
        else list(call.tokens or ())
    )
    content = [
        {"token": word, "logprob": logprob, "top_logprobs": []}
        for word, logprob in zip(words, call.logprobs, strict=True)
    ]
    return Choice.model_validate(
        {
            "index": 0,
            "finish_reason": "stop",
            "message": message,
            "logprobs": {"content": content},
        }
    )


class _ArtBackend:
    """What the three share: an ART backend, a model registered with it, steps on record."""

    def __init__(self, start: Start) -> None:
        from art import TrainableModel

        self.start = start
        self.model: Any = TrainableModel(
            name=start.lineage,
            project=start.project,
            entity=start.entity,
            base_model=start.base_model,
            base_path=start.data_dir,
        )
        self.art: Any = None

    async def open(self) -> None:
        self.art = self._make()
        await self.model.register(
            self.art,
            _openai_client_config={
                "server_args": {
                    "host": self.start.inference_host,
                    "port": self.start.inference_port,
                    "api_key": self.start.inference_api_key,
                }
            },
        )

    def _make(self) -> Any:
        raise NotImplementedError

    async def close(self) -> None:
        if self.art is not None:
            await self.art.close()

    async def values(
        self, steps: Sequence[int], groups: Sequence[Group], tell: OnProgress
    ) -> list[StepValue]:
        del steps, groups, tell  # without the weights at hand there is nothing to compute
        raise TrainingError(
            f"backend {self.start.backend} cannot score recorded answers; held-out evaluation "
            "needs the cpu backend, or set BABYLON_PROMOTE_WITHOUT_EVALUATION"
        )

    async def _run(
        self,
        request: Train,
        groups: Sequence[Group],
        tell: OnProgress,
        options: dict[str, Any],
    ) -> Any:
        """Call ART's train, telling of each gradient step as its events come in."""
        inner: Callable[..., Any] = self.art._train_model
        done = 0

        async def watched(*args: Any, **kwargs: Any) -> Any:
            nonlocal done
            async for metrics in inner(*args, **kwargs):
                done += 1
                tell(
                    Progress(
                        done=done,
                        total=int(metrics.get("data/step_num_gradient_steps", 0)),
                        tokens=int(metrics.get("data/step_trainer_tokens", 0)),
                        loss=metrics.get("loss/train"),
                    )
                )
                yield metrics

        self.art._train_model = watched
        try:
            return await self.art.train(
                self.model,
                art_groups(groups),
                learning_rate=request.learning_rate,
                **options,
            )
        finally:
            self.art._train_model = inner


class _OnDisk(_ArtBackend):
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
            metrics=_finite(result.metrics),
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


class _Cpu(_OnDisk):
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


class _Local(_OnDisk):
    """ART's LocalBackend as it is (unsloth, vLLM). Has not run here: this machine has no GPU."""

    def _make(self) -> Any:
        from art.local import LocalBackend

        return LocalBackend(path=self.start.data_dir)

    def _options(self, request: Train) -> dict[str, Any]:
        # ART's own packing length and chunk alignment belong to its GPU kernels.
        return {**super()._options(request), "packed_sequence_length": None}


class _Serverless(_ArtBackend):
    """ART's ServerlessBackend as it is; the weights stay with W&B, so their identity is the
    checkpoint's id there. Has not run against W&B's servers here."""

    def _make(self) -> Any:
        from art import ServerlessBackend

        return ServerlessBackend(
            api_key=self.start.wandb_api_key, base_url=self.start.wandb_base_url
        )

    async def _newest(self) -> tuple[int, str | None]:
        pages = self.art._client.models.checkpoints.list(
            limit=1, order="desc", model_id=self.model.id
        )
        async for checkpoint in pages:
            return checkpoint.step, checkpoint.id
        return 0, None

    async def step(self) -> BackendStep:
        return BackendStep(step=(await self._newest())[0])

    async def train(self, request: Train, groups: Sequence[Group], tell: OnProgress) -> Trained:
        before, before_id = await self._newest()
        if before != request.base_step:
            raise TrainingError(
                f"the step starts from {request.base_step} but the backend stands at {before}; "
                "nothing was trained"
            )
        if request.parent_step not in (None, before):
            raise TrainingError(
                f"backend serverless trains on from its newest step {before} only, "
                f"not from {request.parent_step}"
            )
        jobs = self.art._client.training_jobs
        create: Callable[..., Awaitable[Any]] = jobs.create
        reference: str | None = None

        async def noted(*args: Any, **kwargs: Any) -> Any:
            # The job's id is known here and nowhere else: tell it at once, for recovery.
            nonlocal reference
            job = await create(*args, **kwargs)
            reference = job.id
            tell(Progress(done=0, total=0, job_reference=job.id))
            return job

        jobs.create = noted
        try:
            result = await self._run(request, groups, tell, {})
        finally:
            jobs.create = create
        after, after_id = await self._newest()
        return Trained(
            step=after,
            gradient_steps=int(result.metrics.get("data/step_num_gradient_steps", 0)),
            trainable_tokens=int(result.metrics.get("data/step_trainer_tokens", 0)),
            adapter_hash=after_id,
            base_adapter_hash=before_id,
            uri=self.model.get_inference_name(after),
            inference_name=self.model.get_inference_name(after),
            manifest_hash=request.manifest_hash,
            metrics=_finite(result.metrics),
            job_reference=reference,
        )

    async def discard(self, step: int) -> BackendStep:
        newest, _ = await self._newest()
        if step != newest or step == 0:
            raise TrainingError(f"asked to discard step {step}, but the newest step is {newest}")
        await self.art._client.models.checkpoints.delete(model_id=self.model.id, steps=[step])
        return await self.step()


def _finite(metrics: dict[str, float]) -> dict[str, float]:
    return {key: float(value) for key, value in metrics.items() if math.isfinite(value)}
