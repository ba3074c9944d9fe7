"""The ``local`` backend: ART's own, with unsloth and vLLM on a GPU."""

from __future__ import annotations

import asyncio
import random
import secrets
import sys
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from functools import cached_property
from typing import TYPE_CHECKING, Any

from msgspec import structs

from babylon_tasks.dataset.eligibility import EXACT
from babylon_tasks.errors import CheckpointDamaged
from babylon_tasks.reasons import Reason
from babylon_tasks.records import Group
from babylon_tasks.step_records import StepResult, SupervisedConfig
from babylon_tasks.training.answer_tokens import AnswerTokenizer
from babylon_tasks.training.art_supervised import art_gradient_steps
from babylon_tasks.training.back_to_parent import end_begun, go_back
from babylon_tasks.training.checkpoints import adapter_hash, newest_step, steps_on_disk
from babylon_tasks.training.child import last_lines
from babylon_tasks.training.disk_backend import DiskBackend
from babylon_tasks.training.inspect_calls import Inspector, refused
from babylon_tasks.training.protocol import (
    BackendStep,
    Checked,
    CheckRequest,
    Inspected,
    InspectRequest,
    OnProgress,
    TrainRequest,
)
from babylon_tasks.training.root_cause import with_root_cause
from babylon_tasks.training.token_text import TokenText, token_text_of
from babylon_tasks.training.unfinished import set_unfinished_aside
from babylon_tasks.training.without_megatron import import_table_of_models
from babylon_tasks.training.work import noting_prompts, noting_wait

if TYPE_CHECKING:  # a web server and a client: no worker and no command needs them to name a class
    from babylon_tasks.training.vllm_front.server import VllmFront

_ART_LONGEST = 32_768  # what ART's own services are started with
# How long a step waits for the answers that vLLM is giving; ART then waits 300 s itself.
_DRAIN_SECONDS = 60.0
_WATCH_SECONDS = 5.0
# ART waits 1,200 s for vLLM (ART_DEDICATED_VLLM_TIMEOUT) and loads a model before.
_START_SECONDS = 1_800.0


class LocalTraining(DiskBackend):
    """ART's LocalBackend unchanged (unsloth, vLLM), and our address before its vLLM.

    ART's service keeps the weights that it trained, and vLLM the adapters that it loaded, whatever
    becomes of their files; a step that fails ends vLLM. So both are started anew after each of
    these: their memory ends with their processes. docs/art.md says what has not run on a card.
    """

    front: VllmFront
    _watching: asyncio.Task[None]

    def __init__(self, start: Any) -> None:
        super().__init__(start)
        self._changing = asyncio.Lock()  # what vLLM has loaded, and whether it is there

    def _make(self) -> Any:
        from art.local import LocalBackend

        import_table_of_models()
        return LocalBackend(path=self.start.data_dir)

    @property
    def base_url(self) -> str:
        """Where agents ask, which is not where vLLM listens."""
        return self.front.base_url

    async def open(self) -> None:
        from babylon_tasks.training.vllm_front.server import VllmFront

        self.front = VllmFront(self.start, self.checkpoints, self._load)
        async with self._changing:
            self.front.start()
            end_begun(self.checkpoints)
            set_unfinished_aside(self.checkpoints)
            self.art = self._make()
            await self._start_service()
        self.front.gate.open()
        self._watching = asyncio.create_task(self._watch())

    async def _watch(self) -> None:
        """Start vLLM anew where it has ended by itself: nobody else looks between two steps."""
        while True:
            await asyncio.sleep(_WATCH_SECONDS)
            try:
                if not await self.front.lives():
                    async with self._alone():
                        await self._revive()
            except Exception as error:  # noqa: BLE001  # else nobody looks any more
                why = with_root_cause(error)
                print(f"cannot see whether vLLM lives: {why}", file=sys.stderr, flush=True)

    async def _revive(self) -> None:
        if not await self.front.lives():
            log = self.checkpoints.with_name("logs") / "vllm-runtime.log"  # emptied at its start
            await self._restart(f"vLLM has ended; the last lines of {log}: {last_lines(log)}")

    async def close(self) -> None:
        self._watching.cancel()
        await super().close()
        self.front.stop()

    async def _start_service(self) -> None:
        from babylon_tasks.training.vllm_front.upstream import Vllm

        # ART hands the key to vLLM as an argument, which others on this machine can read: so it is
        # not the agents' key, and none that outlives this start.
        key = secrets.token_hex(24)
        config: dict[str, Any] = {"server_args": {"api_key": key}}  # ART chooses a free port
        await self.model.register(self.art, _openai_client_config=config)
        vllm = Vllm(str(self.model.inference_base_url), key)
        newest = newest_step(self.checkpoints)
        # ART loads no other; where a parent's copy has its number, nobody is answered as that one.
        known = await asyncio.to_thread(self.committed.damage, newest) is None
        self.front.answer_by(vllm, {newest} if known else ())

    async def _restart(self, why: str) -> None:
        """End ART's service and vLLM, and start both; the process ends where that fails."""
        print(f"ART's service and vLLM are started anew: {why}", file=sys.stderr, flush=True)
        self.front.answer_by(None, ())
        try:
            await noting_wait(self._start_anew(), _START_SECONDS)
        except Exception as error:
            # The worker starts another trainer; this one would answer nobody from now on.
            cause = with_root_cause(error)
            raise SystemExit(f"ART's service cannot be started anew: {cause}") from error

    async def _start_anew(self) -> None:
        await self.art.close()
        set_unfinished_aside(self.checkpoints)
        await self._start_service()

    @asynccontextmanager
    async def _alone(self) -> AsyncIterator[None]:
        """Keep agents from vLLM: their requests wait, for as long as they may take at all."""
        await noting_wait(self._changing.acquire(), _START_SECONDS)  # the watcher may start vLLM
        try:
            await self.front.gate.close(_DRAIN_SECONDS)
            try:
                yield
            finally:
                self.front.gate.open()
        finally:
            self._changing.release()

    async def _load(self, step: int) -> None:
        """Let vLLM answer as a checkpoint; raises CheckpointDamaged."""
        async with self._changing:
            if step in self.front.loaded:
                return
            damage = await asyncio.to_thread(self.committed.damage, step)
            if damage is not None:
                raise CheckpointDamaged(f"checkpoint {step} cannot be loaded: {damage}")
            await self._register(step)

    async def _register(self, step: int) -> None:
        service = await self.art._get_service(self.model)
        await service.register_lora_for_step(step, str(self.checkpoints / f"{step:04d}"))
        self.front.answer_by(self.front.vllm, self.front.loaded | {step})

    async def _unload(self, steps: frozenset[int]) -> None:
        """Let vLLM forget checkpoints that are pruned or damaged."""
        kept = self.front.loaded - steps
        if kept == self.front.loaded:
            return
        self.front.answer_by(self.front.vllm, kept)  # nobody is answered as the others any more
        if kept:  # ART never unloads what was registered last
            await self._register(max(kept))
            await self.art.prune_model_adapters(self.model, retain_steps=set(kept))

    async def check(self, request: CheckRequest) -> Checked:
        checked = await super().check(request)
        if not await self.front.lives():
            async with self._alone():
                await self._revive()
        here = frozenset(steps_on_disk(self.checkpoints))
        async with self._changing:
            await self._unload((self.front.loaded - here) | frozenset(checked.damaged))
        for step in request.steps:  # what serves is asked for at once
            if step in here and step not in checked.damaged:
                await self._load(step)
        return checked

    async def discard(self, step: int) -> BackendStep:
        async with self._alone():
            left = await super().discard(step)
            await self._restart(f"checkpoint {step} was discarded")
        return left

    async def set_aside(self, step: int, folder: str) -> BackendStep:
        async with self._alone():
            left = await super().set_aside(step, folder)
            await self._restart(f"checkpoint {step} was set aside")
        return left

    async def discard_branch(self, parent: int, steps: Sequence[int], folder: str) -> BackendStep:
        async with self._alone():
            if await asyncio.to_thread(go_back, self.checkpoints, parent, folder):
                await self._restart(f"step {parent} is trained on from, not {max(steps)}")
        return await self.step()

    async def _branch(self, newest: int, parent: int) -> None:
        if parent != newest and not await asyncio.to_thread(self._same, newest, parent):
            await super()._branch(newest, parent)

    def _same(self, newest: int, parent: int) -> bool:
        hashes = {adapter_hash(self.checkpoints / f"{step:04d}") for step in (newest, parent)}
        return len(hashes) == 1 and None not in hashes

    @cached_property
    def _tokenizer(self) -> Any:
        from transformers import AutoTokenizer

        return noting_prompts(AutoTokenizer.from_pretrained(self.start.base_model))

    @cached_property
    def _spelling(self) -> TokenText:
        return token_text_of(self._tokenizer)

    async def _inspector(self, longest: int, label: str) -> Inspector:
        del longest  # ART decides the length of rows
        return Inspector(self._tokenizer, self._spelling, _ART_LONGEST, label, self.kept_proofs)

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

    @asynccontextmanager
    async def _one_step(self) -> AsyncIterator[None]:
        """Have a card and vLLM for a step of ART's, which loads what it made into vLLM."""
        async with self._alone():
            await self._revive()
            try:
                yield
            except Exception as error:
                await self._restart(f"the step failed, and ART ends vLLM then: {error!r}")
                raise
            made = newest_step(self.checkpoints)
            self.front.answer_by(self.front.vllm, self.front.loaded | {made})

    async def _run(
        self,
        request: TrainRequest,
        groups: Sequence[Group],
        on_progress: OnProgress,
        options: dict[str, Any],
    ) -> Any:
        async with self._one_step():
            return await super()._run(request, groups, on_progress, options)

    async def _supervised(
        self,
        request: TrainRequest,
        config: SupervisedConfig,
        groups: Sequence[Group],
        on_progress: OnProgress,
    ) -> dict[str, float]:
        # ART would leave out what is too long, and train on the rest.
        tokenizer = AnswerTokenizer(self._tokenizer, self._spelling, _ART_LONGEST)
        await self._answers(tokenizer, groups, on_progress)
        async with self._one_step():
            steps = art_gradient_steps(self.art, self.model, request, config, groups)
            return await self._supervise(request, groups, steps, on_progress)

    def _options(self, request: TrainRequest) -> dict[str, Any]:
        # ART's own packing length and chunk alignment belong to its GPU kernels.
        return {**super()._options(request), "packed_sequence_length": None}
