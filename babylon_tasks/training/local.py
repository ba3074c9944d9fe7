"""The ``local`` backend: ART's own, with unsloth and vLLM on a GPU."""

from __future__ import annotations

import random
from collections.abc import Sequence
from functools import cached_property
from typing import Any

from msgspec import structs

from babylon_tasks.dataset.eligibility import EXACT
from babylon_tasks.errors import BackendUnavailable
from babylon_tasks.reasons import Reason
from babylon_tasks.records import Group, StepResult
from babylon_tasks.training.disk_backend import DiskBackend
from babylon_tasks.training.inspect_calls import Inspector, refused
from babylon_tasks.training.protocol import Inspected, InspectRequest, OnProgress, TrainRequest
from babylon_tasks.training.token_text import TokenText, token_text_of

_ART_LONGEST = 32_768  # what ART's own services are started with


class LocalTraining(DiskBackend):
    """ART's LocalBackend unchanged (unsloth, vLLM). Not tested by us: it needs a GPU."""

    def _make(self) -> Any:
        if ":" in self.start.inference_host:
            raise BackendUnavailable(
                "BABYLON_INFERENCE_HOST is an IPv6 address, from which ART makes an unusable URL "
                "with backend local: set an IPv4 address or a name"
            )
        from art.local import LocalBackend

        return LocalBackend(path=self.start.data_dir)

    @cached_property
    def _tokenizer(self) -> Any:
        from transformers import AutoTokenizer

        return AutoTokenizer.from_pretrained(self.start.base_model)

    @cached_property
    def _spelling(self) -> TokenText:
        return token_text_of(self._tokenizer)

    async def _inspector(self, longest: int, label: str) -> Inspector:
        del longest  # ART decides the length of rows
        return Inspector(self._tokenizer, self._spelling, _ART_LONGEST, label)

    async def inspect(
        self, request: InspectRequest, groups: Sequence[Group], on_progress: OnProgress
    ) -> Inspected:
        inspected = await super().inspect(request, groups, on_progress)
        if request.logprobs == EXACT:
            return inspected
        refusal = (Reason.NO_LOGPROBS, self._needs_exact(request.logprobs))
        return structs.replace(inspected, refusals=refused(groups, lambda _: refusal))

    async def train(
        self, request: TrainRequest, groups: Sequence[Group], on_progress: OnProgress
    ) -> StepResult:
        random.seed(request.seed)  # ART shuffles with the global generator
        return await super().train(request, groups, on_progress)

    def _options(self, request: TrainRequest) -> dict[str, Any]:
        # ART's own packing length and chunk alignment belong to its GPU kernels.
        return {**super()._options(request), "packed_sequence_length": None}
