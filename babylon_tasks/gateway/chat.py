"""Answer one request: by a checkpoint, by another server, or by the fallback, with a label."""

from __future__ import annotations

import asyncio
import time
import uuid
from typing import Any

import msgspec
import structlog
from msgspec import Struct

from babylon_tasks.gateway import metrics
from babylon_tasks.gateway.answer_json import decoded
from babylon_tasks.gateway.away import Away, AwayReason, away_by
from babylon_tasks.gateway.breaker import Breaker
from babylon_tasks.gateway.capture import Capture
from babylon_tasks.gateway.captured import Sampled
from babylon_tasks.gateway.exchange import CHECKPOINT, Exchange
from babylon_tasks.gateway.no_answer import refusal_of, unanswered
from babylon_tasks.gateway.pass_on import PassOn
from babylon_tasks.gateway.probe_server import ServerProbe
from babylon_tasks.gateway.refused_requests import RefusedRequests
from babylon_tasks.gateway.routes import Routes, ToCheckpoint, ToUpstream
from babylon_tasks.gateway.server_keys import ServerKeys
from babylon_tasks.gateway.servers import ServerAnswer, Servers
from babylon_tasks.gateway.stream import KEEP_ALIVE, events
from babylon_tasks.gateway.trainer_body import (
    for_checkpoint,
    is_fixed,
    shaped,
    smaller_budget,
    trainer_body,
    within_budget,
)
from babylon_tasks.gateway.trainer_reply import SampleState, for_client, read_sample
from babylon_tasks.http_server.deliver import Answer
from babylon_tasks.recorder.completion import Completion
from babylon_tasks.settings import Settings

# A client that waits for the head of an answer gives up sooner than one that gets bytes.
QUIET_SECONDS = 3.0
# Bytes in memory of what is kept of an answer, for each byte of its JSON text.
_OBJECTS = 3
# What reading an answer may raise, nests without end and numbers of a thousand digits included.
_UNREADABLE = (
    msgspec.MsgspecError,
    LookupError,
    TypeError,
    AttributeError,
    ValueError,
    RecursionError,
    OverflowError,
)
log = structlog.get_logger(__name__)


class _Reply(Struct, frozen=True):
    """A checkpoint's answer: as it was sampled, and as the client gets it; ``size`` in bytes."""

    capture_id: uuid.UUID
    state: SampleState
    found: Completion
    whole: dict[str, Any]
    chunks: list[bytes]
    size: int


class GatewayChat:
    """Answers by the routes of the settings; used in one event loop."""

    def __init__(
        self,
        settings: Settings,
        routes: Routes,
        servers: Servers,
        keys: ServerKeys,
        capture: Capture,
        probe: ServerProbe,
    ) -> None:
        self._settings = settings
        self._routes = routes
        self._servers = servers
        self._capture = capture
        self._breaker = Breaker()
        self._most: dict[str, int] = {}  # tokens of an answer, by address, where a server has said
        self._keys = keys
        self._probe = probe
        self._refused = RefusedRequests()
        self._pass_on = PassOn(settings, servers, keys, self._refused, capture)

    async def answer(self, exchange: Exchange) -> Answer | None:
        """Answer a request; None if the answer has been sent as a stream. Raises Refused."""
        asked = exchange.asked
        route = self._routes.route(asked.model, exchange.asker.agent, exchange.asked_at)
        exchange.arm = route.arm
        if isinstance(route, ToUpstream):
            named = asked.model == route.model
            return await self._pass_on(exchange, route, named=named)
        fallback = None if route.pinned else self._routes.fallback
        exchange.asked = for_checkpoint(asked, self._settings.gateway_temperature)
        try:
            answer = await self._patiently(exchange, self._sampled(exchange, route, fallback))
        except Away as away:
            if fallback is None:
                return await exchange.fail(unanswered(route, away))
            metrics.FALLBACKS.labels(away.reason).inc()
            exchange.labels["x-babylon-fallback"] = away.reason
            exchange.asked = asked  # it is asked what the client asked
            return await self._pass_on(exchange, fallback, named=False)
        exchange.served_by = CHECKPOINT
        exchange.labels["x-babylon-served-by"] = route.name
        if isinstance(answer, ServerAnswer):
            return await exchange.fail(refusal_of(route, answer))
        return await self._deliver(exchange, route, answer)

    async def _patiently(self, exchange: Exchange, work: Any) -> ServerAnswer | _Reply:
        """Wait for a checkpoint's answer; a client that wants a stream sees that it is awaited."""
        if not exchange.asked.stream:
            answer: ServerAnswer | _Reply = await work
            return answer
        task: asyncio.Task[ServerAnswer | _Reply] = asyncio.ensure_future(work)
        try:
            while not task.done():
                await asyncio.wait({task}, timeout=QUIET_SECONDS)
                if not task.done():
                    await exchange.begin()
                    await exchange.stream.write(KEEP_ALIVE)
            return await task
        finally:
            task.cancel()
            await asyncio.gather(task, return_exceptions=True)

    async def _sampled(
        self, exchange: Exchange, route: ToCheckpoint, fallback: ToUpstream | None
    ) -> ServerAnswer | _Reply:
        """Give an answer, or a refusal as the server sent it; raises Away."""
        if route.base_url is None:
            raise Away(AwayReason.UNKNOWN)
        if fallback is not None and not self._breaker.admits():
            raise Away(AwayReason.PAUSED)
        seconds = self._settings.gateway_timeout_seconds
        if fallback is not None:
            seconds = min(seconds / 2, self._settings.gateway_trainer_seconds)
        begun = time.monotonic()
        try:
            answer = await self._within_budget(exchange, route, route.base_url, seconds)
            reply = self._read(exchange, route, answer) if answer.status == 200 else answer
        except Away:
            self._breaker.failed()
            raise
        except asyncio.CancelledError:  # nobody waits for it any more
            self._breaker.given_up(begun)
            raise
        self._breaker.succeeded()
        return reply

    async def _within_budget(
        self, exchange: Exchange, route: ToCheckpoint, base_url: str, seconds: float
    ) -> ServerAnswer:
        """Ask a checkpoint; ``exchange.asked`` is then what it was asked at last."""
        key = self._keys.of_trainer(route.backend)
        most = self._most.get(base_url)
        if most is not None:
            exchange.asked = within_budget(exchange.asked, most)
        profile = self._probe.profile(base_url, route.backend)
        body = trainer_body(exchange.asked, route.model, profile)
        answer = await self._servers.ask(base_url, key, body, seconds, exchange.elsewhere)
        if answer.status == 400:
            refusal = answer.content.decode("utf-8", "replace")
            smaller = smaller_budget(exchange.asked, refusal)
            if smaller is not None:
                if is_fixed(refusal):
                    self._most[base_url] = smaller
                exchange.asked = within_budget(exchange.asked, smaller)
                body = trainer_body(exchange.asked, route.model, profile)
                answer = await self._servers.ask(base_url, key, body, seconds, exchange.elsewhere)
        away = away_by(answer.status)
        if away is None or (route.pinned and away.reason is AwayReason.NO_MODEL):
            return answer
        if away.reason is AwayReason.REFUSED:
            setting = self._keys.trainer_setting(route.backend)
            self._refused.note(CHECKPOINT, answer.status, base_url, setting)
        raise away

    def _read(self, exchange: Exchange, route: ToCheckpoint, answer: ServerAnswer) -> _Reply:
        """Read an answer; raises Away for what is no chat completion, whatever it is."""
        asked = exchange.asked
        try:
            kept = self._keeps_prompt_ids(route)
            reply = decoded(answer.content, asked, prompt_ids=kept)
            state, found = read_sample(reply)
            capture_id = uuid.uuid4()
            answer_id = f"chatcmpl-{capture_id.hex}"
            reply = for_client(reply, asked, answer_id=answer_id, name=route.name)
            chunks = list(events(reply, usage=asked.wants_usage, groq=exchange.groq))
        except _UNREADABLE:
            log.exception("answer.rejected", model=route.name)
            raise Away(AwayReason.MALFORMED) from None
        is_shaped = state is SampleState.COMPLETE and shaped(asked)  # as captures say it
        metrics.SAMPLES.labels(SampleState.SHAPED if is_shaped else state).inc()
        return _Reply(capture_id, state, found, reply, chunks, len(answer.content))

    async def _deliver(
        self, exchange: Exchange, route: ToCheckpoint, reply: _Reply
    ) -> Answer | None:
        asked, stream = exchange.asked, exchange.stream
        self._capture.put(
            Sampled(
                capture_id=reply.capture_id,
                asked_at=exchange.asked_at,
                asked=asked,
                asker=exchange.asker,
                client=exchange.client,
                policy=route.name,
                found=reply.found,
                state=reply.state,
                latency_ms=round(exchange.elsewhere.seconds * 1000),
                arm=exchange.arm,
                caller=exchange.caller,
                keep_prompt_ids=self._keeps_prompt_ids(route),
                size=len(asked.raw) + _OBJECTS * reply.size,
            )
        )
        if not asked.stream:
            return Answer(msgspec.json.encode(reply.whole), headers=exchange.labels)
        await exchange.begin()
        for chunk in reply.chunks:
            await stream.write(chunk)
        await stream.end()
        return None

    def _keeps_prompt_ids(self, route: ToCheckpoint) -> bool:
        setting = self._settings.gateway_prompt_ids
        return setting == "always" or (setting == "auto" and route.backend == "serverless")
