"""The queue: requests that arrive together are sampled as one batch.

A request that nobody waits for any more is not sampled, and one that is abandoned while it is
sampled leaves its batch.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager

from babylon_tasks.errors import CheckpointDamaged
from babylon_tasks.http_server.refusals import Refused, too_many_requests
from babylon_tasks.training.child_log import Tracebacks
from babylon_tasks.training.inference.limits import BATCH_ANSWERS, BATCH_TOKENS, batch_tokens
from babylon_tasks.training.lost_device import end_if_lost
from babylon_tasks.training.policy import Policy
from babylon_tasks.training.sampling import SampledAnswer, SamplingRequest, sample

_GATHER_SECONDS = 0.03  # wait for more requests as long as they keep coming,
_GATHER_LIMIT_SECONDS = 0.3  # but no longer than this, or than the last batch took:
# what comes meanwhile would wait for a pass of its own.
_GATHER_MOST_SECONDS = 2.0
# A pause of up to this share of that time does not end the wait. With 30 ms whatever it was, a
# client's garbage collection split an hour's 128 requests into two batches of two seconds each.
_GATHER_SHARE = 1 / 16


class _Queued:
    def __init__(self, step: int, ask: SamplingRequest) -> None:
        self.step = step
        self.ask = ask
        self.future: asyncio.Future[list[SampledAnswer]] = (
            asyncio.get_running_loop().create_future()
        )


class Batches:
    """The requests of one endpoint, at most ``limit`` at once; used in its event loop only."""

    def __init__(self, policy: Policy, limit: int) -> None:
        self._policy = policy
        self._limit = limit
        self.most_tokens = batch_tokens(policy.device.free_bytes(), policy.cache_bytes)
        self.in_progress = 0
        self.sampling = 0
        self._queue: list[_Queued] = []
        self._took = 0.0  # seconds, by the last batch
        self._worker: asyncio.Task[None] | None = None
        self._tracebacks = Tracebacks()  # into the trainer's log

    @contextmanager
    def place(self) -> Iterator[None]:
        """Take one of the places, before anything of the request is read; raises Refused (429)."""
        if self.in_progress >= self._limit:
            raise too_many_requests(self._limit, "BABYLON_INFERENCE_MAX_REQUESTS")
        self.in_progress += 1
        try:
            yield
        finally:
            self.in_progress -= 1

    async def sampled(self, step: int, ask: SamplingRequest) -> list[SampledAnswer]:
        """Wait for the answers; raises Refused. Cancel it, and it is not sampled any further."""
        queued = _Queued(step, ask)
        self._queue.append(queued)
        if self._worker is None or self._worker.done():
            self._worker = asyncio.create_task(self._work())
        return await queued.future  # cancelled with the task that waits here

    async def _work(self) -> None:
        while self._queue:
            await self._gather()
            batch = self._next_batch()
            if not batch:
                continue
            self.sampling = len(batch)
            began = time.monotonic()
            step = batch[0].step
            asks = [one.ask for one in batch]

            def abandoned(place: int, batch: list[_Queued] = batch) -> bool:
                return batch[place].future.done()

            try:
                answers = await asyncio.to_thread(
                    sample, self._policy, asks, step=step, abandoned=abandoned
                )
            except Exception as error:  # noqa: BLE001  # whatever fails ends all their waits
                self._tracebacks.print(error)
                end_if_lost(error)
                for one in batch:
                    if not one.future.done():
                        one.future.set_exception(_failure(step, error))
            else:
                self._tracebacks.end_row()
                for one, answer in zip(batch, answers, strict=True):
                    if not one.future.done():
                        one.future.set_result(answer)
            finally:
                self.sampling = 0
                self._took = time.monotonic() - began

    async def _gather(self) -> None:
        patience = max(_GATHER_LIMIT_SECONDS, min(self._took, _GATHER_MOST_SECONDS))
        pause = max(_GATHER_SECONDS, patience * _GATHER_SHARE)
        deadline = time.monotonic() + patience
        seen = 0
        while seen < len(self._queue) < BATCH_ANSWERS and time.monotonic() < deadline:
            seen = len(self._queue)
            await asyncio.sleep(pause)

    def _next_batch(self) -> list[_Queued]:
        """Take the oldest request that is still wanted, and others of its checkpoint that fit."""
        self._queue = [one for one in self._queue if not one.future.done()]
        batch: list[_Queued] = []
        for one in list(self._queue):
            together = [*batch, one]
            asks = [queued.ask for queued in together]
            if not batch or (one.step == batch[0].step and fits(asks, self.most_tokens)):
                batch = together
                self._queue.remove(one)
        return batch


def fits(asks: Sequence[SamplingRequest], most_tokens: int = BATCH_TOKENS) -> bool:
    """Check whether these can be sampled together: each row is as long as the longest."""
    rows = sum(ask.n for ask in asks)
    return rows <= BATCH_ANSWERS and rows * width(asks) <= most_tokens


def width(asks: Sequence[SamplingRequest]) -> int:
    """Return the tokens of a row of the batch: the longest prompt and the longest answer."""
    return max(len(ask.prompt) for ask in asks) + max(ask.max_tokens for ask in asks)


def _failure(step: int, error: Exception) -> Refused:
    if isinstance(error, FileNotFoundError):
        return Refused(404, str(error), code="model_not_found", param="model")
    if isinstance(error, CheckpointDamaged):  # soon another one serves
        return Refused(503, str(error), code="checkpoint_damaged", param="model")
    return Refused(500, f"sampling from checkpoint {step} failed: {error}")
