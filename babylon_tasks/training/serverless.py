"""The ``serverless`` backend: ART's own, with W&B's servers or a stand-in of the same API."""

from __future__ import annotations

import sys
from collections.abc import Callable, Mapping, Sequence
from typing import Any

from msgspec import structs

from babylon_tasks.dataset.eligibility import EXACT
from babylon_tasks.errors import BackendUnavailable, TrainingError
from babylon_tasks.job_references import ASKED, NOT_ASKED
from babylon_tasks.reasons import Reason
from babylon_tasks.records import Group, LlmCall
from babylon_tasks.step_records import StepResult
from babylon_tasks.training.art_backend import ArtBackend, figures
from babylon_tasks.training.art_interface import (
    GRADIENT_STEPS_METRIC,
    TOKENS_METRICS,
    installed,
)
from babylon_tasks.training.art_supervised import art_gradient_steps, followed_gradient_steps
from babylon_tasks.training.inspect_calls import refused
from babylon_tasks.training.policy_difference import (
    UNPROVEN,
    Difference,
    asking,
    measure,
    prompts_of,
)
from babylon_tasks.training.protocol import (
    BackendStep,
    Inspected,
    InspectRequest,
    OnProgress,
    RequestProgress,
    TrainRequest,
)
from babylon_tasks.training.step_figures import under_one_name
from babylon_tasks.training.trainer_start import StartTrainer
from babylon_tasks.training.wandb_job import listed, one_job, require_fields
from babylon_tasks.training.wandb_upload import upload

_ANSWER_SECONDS = 60.0  # one token; OpenAI's client asks again twice


class ServerlessTraining(ArtBackend):
    """ART's ServerlessBackend unchanged. The weights stay with W&B, so a checkpoint is identified
    by its id there, and that they have moved is proved by the policy's answers
    (``policy_difference.py``). Not tested against W&B's servers by us."""

    def __init__(self, start: StartTrainer) -> None:
        super().__init__(start)
        self.carries = installed().carries

    def _make(self) -> Any:
        import httpx
        from art import ServerlessBackend

        from babylon_tasks.training.bounded_answers import bound_answers  # imports httpx

        bound_answers(httpx.AsyncHTTPTransport)
        return ServerlessBackend(
            api_key=self.start.wandb_api_key, base_url=self.start.wandb_base_url
        )

    async def open(self) -> None:
        try:
            await super().open()
        except AssertionError as error:  # ART's own
            raise self._nameless("entity") from error
        if self.model.id is None:
            raise self._nameless("id")

    def _nameless(self, field: str) -> BackendUnavailable:
        return BackendUnavailable(
            f"W&B has registered {self.start.lineage}, and its answer has no `{field}`, which it "
            "may call otherwise now (docs/art.md): install a release of babylon-tasks that knows "
            "it. Nothing was trained"
        )

    async def _newest_first(self, count: int) -> list[Any]:
        pages = self.art._client.models.checkpoints.list(
            limit=count, order="desc", model_id=self.model.id
        )
        found: list[Any] = []
        async for checkpoint in listed("checkpoints", pages):
            require_fields("a checkpoint", checkpoint, "id", "step")
            found.append(checkpoint)
            if len(found) == count:
                break
        return found

    async def step(self) -> BackendStep:
        found = await self._newest_first(1)
        return BackendStep(step=found[0].step if found else 0)

    async def inspect(
        self, request: InspectRequest, groups: Sequence[Group], on_progress: OnProgress
    ) -> Inspected:
        del on_progress  # returns at once

        def refusal(call: LlmCall) -> tuple[Reason, str] | None:
            return _unfit(call, request.logprobs)

        return Inspected(refused(groups, refusal), ())

    async def train(
        self, request: TrainRequest, groups: Sequence[Group], on_progress: OnProgress
    ) -> StepResult:
        found = await self._newest_first(2)
        before = found[0].step if found else 0
        ids = {checkpoint.step: checkpoint.id for checkpoint in found}
        if request.job is None or before != request.base_step + 1:
            await self._start_from(request, before)
        elif request.job == ASKED:
            metrics = _kept_metrics(request, groups, found[0])
            return await self._made(request, groups, on_progress, metrics, found[0], ids)
        reported: list[str] = []

        def report(reference: str) -> None:
            reported.append(reference)
            on_progress(RequestProgress(done=0, total=0, job=reference))

        try:
            metrics = await self._ran(request, groups, on_progress, report)
        except Exception as error:
            if not (request.overdue and before == request.base_step + 1) or NOT_ASKED in reported:
                raise
            _without(f"the events of job {request.job} cannot be read", error)
            metrics = _kept_metrics(request, groups, found[0])
        after = await self._newest_first(1)
        made = after[0] if after else None
        return await self._made(request, groups, on_progress, metrics, made, ids)

    async def _ran(
        self,
        request: TrainRequest,
        groups: Sequence[Group],
        on_progress: OnProgress,
        report: Callable[[str], None],
    ) -> Mapping[str, float]:
        """Have a job run, or follow the one that does; returns the step's metrics."""
        client = self.art._client
        job = None if request.job == ASKED else request.job
        if request.supervised is None:
            with one_job(client.training_jobs, job, report):
                return await self._compared(request, groups, on_progress)
        config = request.supervised
        with one_job(client.sft_training_jobs, job, report):
            if job is None:
                asked = await upload(
                    self.art,
                    lambda art: art_gradient_steps(art, self.model, request, config, groups),
                )
                job = (await client.sft_training_jobs.create(**asked)).id
            steps = followed_gradient_steps(client, job)
            return _with_tokens(await self._supervise(request, groups, steps, on_progress))

    async def _compared(
        self, request: TrainRequest, groups: Sequence[Group], on_progress: OnProgress
    ) -> Mapping[str, float]:
        """Run a step of GRPO; returns its metrics."""
        unfit = refused(groups, lambda call: _unfit(call, request.logprobs))
        if unfit and request.job is None:
            raise TrainingError(
                f"call {unfit[0].call} of trajectory {unfit[0].trajectory_id}: {unfit[0].detail}; "
                "nothing was trained"
            )
        options = {"kl_penalty_coef": request.kl_coefficient} if self.carries else {}
        result = await self._run(request, groups, on_progress, options)
        measured: Mapping[str, float] = result.metrics
        return measured

    async def _made(
        self,
        request: TrainRequest,
        groups: Sequence[Group],
        on_progress: OnProgress,
        metrics: Mapping[str, float],
        made: Any,
        ids: dict[int, str],
    ) -> StepResult:
        """Build the result of a job that has ended with checkpoint ``made``."""
        step = 0 if made is None else made.step
        result = self._result(
            request,
            metrics,
            step,
            adapter=None if made is None else made.id,
            base_adapter=ids.get(request.base_step),
            uri=self.model.get_inference_name(step),
        )
        if step != request.base_step + 1:
            return result  # it counts for nothing anyway
        try:
            moved = await self._difference(request.base_step, result, groups, on_progress)
        except TrainingError as error:
            if not request.overdue:
                raise
            _without("no proof that the weights have moved", error)
            return structs.replace(result, metrics={**result.metrics, **UNPROVEN})
        return structs.replace(
            result, metrics={**result.metrics, **moved.metrics()}, unmoved=moved.unmoved()
        )

    async def _difference(
        self, parent: int, result: StepResult, groups: Sequence[Group], on_progress: OnProgress
    ) -> Difference:
        from openai import AsyncOpenAI

        steps, tokens = result.gradient_steps, result.trainable_tokens
        done = RequestProgress(
            done=steps, total=steps, tokens=tokens, loss=result.metrics.get("loss/train")
        )
        async with AsyncOpenAI(
            api_key=self.model.inference_api_key,
            base_url=self.model.inference_base_url,
            timeout=_ANSWER_SECONDS,
        ) as client:
            return await measure(
                asking(client),
                prompts_of(groups),
                parent=self.model.get_inference_name(parent),
                child=result.inference_name,
                on_answer=lambda: on_progress(done),
            )

    async def _remove(self, step: int) -> None:
        await self.delete([step])

    async def discard_branch(self, parent: int, steps: Sequence[int], folder: str) -> BackendStep:
        del folder  # nothing of it is on this machine
        for step in sorted(steps, reverse=True):
            await self.delete([step])
        left = await self.step()
        if left.step != parent:
            raise TrainingError(
                f"W&B's newest checkpoint is {left.step}, and {parent} is to be trained on from; "
                "nothing is planned until `babylon-tasks doctor` says why"
            )
        return left

    async def delete(self, steps: Sequence[int]) -> None:
        # Not ART's `_delete_checkpoint_files`, which makes the same call for all but those to keep:
        # it would take along what another worker has just trained.
        await self.art._client.models.checkpoints.delete(model_id=self.model.id, steps=list(steps))


def _without(what: str, error: Exception) -> None:
    print(
        f"{what}: {error}; it is overdue (BABYLON_WANDB_JOB_SECONDS), the step goes on without",
        file=sys.stderr,
        flush=True,
    )


def _kept_metrics(request: TrainRequest, groups: Sequence[Group], made: Any) -> Mapping[str, float]:
    """Read the metrics of a job whose events are not at hand: its checkpoint has them, or none."""
    from art.serverless.backend import _canonicalize_upstream_metrics

    metrics = under_one_name(_canonicalize_upstream_metrics(made.metrics or {}))
    if request.supervised is not None and GRADIENT_STEPS_METRIC in metrics:
        metrics = _with_tokens(metrics)
    return {**figures(request, groups), **metrics}


def _with_tokens(metrics: Mapping[str, float]) -> dict[str, float]:
    """Count two tokens a gradient step where W&B counts none for a supervised job.

    It is the least that it can be: an answer's and its end.
    """
    if any(name in metrics for name in TOKENS_METRICS):
        return dict(metrics)
    least = 2 * metrics.get(GRADIENT_STEPS_METRIC, 0)
    return {**metrics, installed().tokens_metric: least}


def _unfit(call: LlmCall, label: str) -> tuple[Reason, str] | None:
    """Check what needs no tokenizer: ART's servers take ids, and may train any other token text as
    the end token."""
    if label != EXACT or call.logprobs is None:
        return Reason.NO_LOGPROBS, "backend serverless trains on recorded log-probabilities only"
    if call.token_ids is None or len(call.token_ids) != len(call.logprobs):
        return Reason.NO_TOKEN_IDS, "backend serverless has no tokenizer to rebuild the ids with"
    if call.prompt_ids is None and installed().needs_prompt_ids:
        release = installed().release
        return Reason.NO_TOKEN_IDS, f"ART {release} needs the token ids of the prompt, too"
    return None
