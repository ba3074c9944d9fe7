"""The ``serverless`` backend: ART's own, with W&B's servers or a stand-in of the same API."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from babylon_tasks.dataset.eligibility import EXACT
from babylon_tasks.errors import TrainingError
from babylon_tasks.reasons import Reason
from babylon_tasks.records import Group, LlmCall, StepResult
from babylon_tasks.training.art_backend import ArtBackend
from babylon_tasks.training.inspect_calls import refused
from babylon_tasks.training.protocol import (
    BackendStep,
    Inspected,
    InspectRequest,
    OnProgress,
    TrainRequest,
)


class ServerlessTraining(ArtBackend):
    """ART's ServerlessBackend unchanged. The weights stay with W&B, so a checkpoint is identified
    by its id there. Not tested against W&B's servers by us."""

    def _make(self) -> Any:
        import httpx
        from art import ServerlessBackend

        from babylon_tasks.training.bounded_answers import bound_answers  # imports httpx

        bound_answers(httpx.AsyncHTTPTransport)
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
        before, before_id = await self._newest()
        await self._start_from(request, before)
        unfit = refused(groups, lambda call: _unfit(call, request.logprobs))
        if unfit:
            raise TrainingError(
                f"call {unfit[0].call} of trajectory {unfit[0].trajectory_id}: {unfit[0].detail}; "
                "nothing was trained"
            )
        result = await self._run(request, groups, on_progress, {})
        after, after_id = await self._newest()
        uri = self.model.get_inference_name(after)
        return self._result(
            request, result, after, adapter=after_id, base_adapter=before_id, uri=uri
        )

    async def _remove(self, step: int) -> None:
        await self.delete([step])

    async def delete(self, steps: Sequence[int]) -> None:
        # Not ART's `_delete_checkpoint_files`, which makes the same call for all but those to keep:
        # it would take along what another worker has just trained.
        await self.art._client.models.checkpoints.delete(model_id=self.model.id, steps=list(steps))


def _unfit(call: LlmCall, label: str) -> tuple[Reason, str] | None:
    """Check what needs no tokenizer: ART's servers take ids, and may train any other token text as
    the end token."""
    if label != EXACT or call.logprobs is None:
        return Reason.NO_LOGPROBS, "backend serverless trains on recorded log-probabilities only"
    if call.token_ids is None or len(call.token_ids) != len(call.logprobs):
        return Reason.NO_TOKEN_IDS, "backend serverless has no tokenizer to rebuild the ids with"
    return None
