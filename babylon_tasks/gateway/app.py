"""The gateway's ASGI application: paths, keys, the bound on requests, and its metrics."""

from __future__ import annotations

import asyncio
import re
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from datetime import datetime
from typing import Any

import msgspec

from babylon_tasks import tracing
from babylon_tasks.gateway import metrics
from babylon_tasks.gateway.asker import HEADER, asker
from babylon_tasks.gateway.capture import Capture
from babylon_tasks.gateway.chat import GatewayChat
from babylon_tasks.gateway.clients import Client, ClientKeys
from babylon_tasks.gateway.exchange import NOBODY, Exchange
from babylon_tasks.gateway.probe_server import ServerProbe
from babylon_tasks.gateway.prompt_agent import PromptAgent
from babylon_tasks.gateway.request import GatewayRequest
from babylon_tasks.gateway.routes import Routes
from babylon_tasks.gateway.server_keys import ServerKeys
from babylon_tasks.gateway.servers import Servers
from babylon_tasks.gateway.stream import EventStream
from babylon_tasks.gateway.wait import Wait
from babylon_tasks.http_server.body import Body
from babylon_tasks.http_server.deliver import Answer, answered, deliver
from babylon_tasks.http_server.refusals import Refused, too_many_requests
from babylon_tasks.http_server.room import Room
from babylon_tasks.settings import Settings

BODY_BYTES = 8 * 2**20
# Of all requests in progress. A prompt is in memory up to four times: as it came, as it is asked,
# on its way, and to be captured; a pod has 512 MiB.
_BODIES_BYTES = 64 * 2**20
_PATH = re.compile(r"(?:/a/(?P<agent>[^/]{1,600}))?/v1/(?P<what>chat/completions|models)")
_METHODS = {"chat/completions": "POST", "models": "GET"}
_READY = "/readyz"
_PROBES = ("/healthz", _READY)
_HEALTHY = b'{"status":"ok"}'


class GatewayApp:
    """Answer one request at a time; only the probes' paths need no key.

    ``lacking`` says what a replica needs before agents should be sent to it, ``clock`` the hour.
    """

    def __init__(
        self,
        settings: Settings,
        keys: ClientKeys,
        routes: Routes,
        servers: Servers,
        server_keys: ServerKeys,
        capture: Capture,
        lacking: Callable[[], str | None],
        clock: Callable[[], datetime],
    ) -> None:
        self._settings = settings
        self._keys = keys
        self._routes = routes
        self._servers = servers
        self._lacking = lacking
        self._clock = clock
        self._probe = ServerProbe(servers, server_keys, routes.now)
        self._probing: asyncio.Task[None] | None = None
        self._chat = GatewayChat(settings, routes, servers, server_keys, capture, self._probe)
        self._prompt_agent = PromptAgent(settings.gateway_agent_pattern)
        self._in_progress = 0
        self._room = Room(_BODIES_BYTES)

    async def __call__(self, scope: Any, receive: Any, send: Any) -> None:
        """Serve one request, or the start and end of the server; ASGI's interface."""
        if scope["type"] == "lifespan":
            await self._lifespan(receive, send)
            return
        headers = dict(reversed(scope["headers"]))  # of a repeated one the first counts
        body = Body(headers, receive, most=BODY_BYTES, room=self._room)
        stream = EventStream(send)
        call = _Call(scope, headers, body, stream)
        answer = await answered(self._answer(call), "the gateway")
        # What was sent as a stream gives an Answer that says nothing of it, unless it was cut off.
        streamed = stream.begun and answer.status == 200
        call.measure(stream.status if streamed else answer.status)
        if not stream.begun:
            await deliver(scope, send, body, answer)
        elif answer.status != 200:  # a client must not take a part for the whole
            scope["state"]["connection"].transport.abort()

    async def _answer(self, call: _Call) -> Answer:
        # As it was sent: a decoded %2F must not become part of another path.
        path = call.scope["raw_path"].decode("latin-1")
        if path in _PROBES:
            _require(call.scope["method"], "GET", path)
            return self._probed(path)
        client = self._client(call.headers)
        call.scope["state"]["connection"].serves()
        call.body.admit()
        found = _PATH.fullmatch(path)
        if found is None:
            raise Refused(
                404,
                f"there is nothing at {path[:200]!r}; the paths are /v1/chat/completions and "
                "/v1/models, also under /a/AGENT. /v1/responses is not supported: use the "
                "client's chat-completions method, such as .chat(MODEL)",
                code="unknown_url",
                headers={"x-should-retry": "false"},
            )
        _require(call.scope["method"], _METHODS[found["what"]], path)
        if found["what"] == "models":
            return Answer(msgspec.json.encode(self._routes.listed()))
        call.counts = True
        with self._place(call.body):
            asked = GatewayRequest(await call.read())
            who = asker(
                header=call.headers.get(HEADER),
                path=found["agent"],
                key=client.agent,
                user=asked.user,
                in_prompt=lambda: self._prompt_agent.find(asked),
            )
            metrics.CALLS.labels(who.source).inc()
            # The AI SDK does not say which of its clients asks; only Groq's reads its usage there.
            program = call.headers.get(b"user-agent", b"").lower()
            groq = b"ai-sdk" in program or b"groq" in program
            exchange = Exchange(
                asked,
                call.stream,
                groq,
                client.name,
                who,
                self._clock(),
                caller=tracing.caller(call.headers),
            )
            call.begin(exchange)
            try:
                answer = await call.body.unless_gone(
                    self._chat.answer(exchange),
                    self._settings.gateway_timeout_seconds,
                    "BABYLON_GATEWAY_TIMEOUT_SECONDS",
                )
            except Refused as late:
                if not (exchange.stream.begun and asked.stream):
                    raise
                answer = await exchange.fail(late)
        return Answer(b"") if answer is None else answer

    def _probed(self, path: str) -> Answer:
        lacking = self._lacking() if path == _READY else None
        if lacking is not None:
            raise Refused(503, lacking)
        return Answer(_HEALTHY)

    def _client(self, headers: dict[bytes, bytes]) -> Client:
        client = self._keys.client(headers.get(b"authorization", b""))
        if client is None:
            raise Refused(
                401,
                "wrong API key; use a key from BABYLON_GATEWAY_KEYS or, if that is unset, "
                "BABYLON_INFERENCE_API_KEY",
                code="invalid_api_key",
                headers={"www-authenticate": "Bearer"},
            )
        return client

    @contextmanager
    def _place(self, body: Body) -> Iterator[None]:
        limit = self._settings.gateway_max_requests
        if self._in_progress >= limit:
            raise too_many_requests(limit, "BABYLON_GATEWAY_MAX_REQUESTS")
        self._in_progress += 1
        metrics.IN_PROGRESS.set(self._in_progress)
        try:
            yield
        finally:
            body.release()
            self._in_progress -= 1
            metrics.IN_PROGRESS.set(self._in_progress)

    async def _lifespan(self, receive: Any, send: Any) -> None:
        while True:
            message = await receive()
            if message["type"] == "lifespan.startup":
                await self._servers.open()
                self._probing = asyncio.create_task(self._probe.watch())
            if message["type"] == "lifespan.shutdown":
                if self._probing is not None:
                    self._probing.cancel()
                await self._servers.close()
            await send({"type": f"{message['type']}.complete"})
            if message["type"] == "lifespan.shutdown":
                return


class _Call:
    """What is known of one request, from its head on.

    ``counts``: it is a call of a known client, which is counted even if it is refused unread.
    """

    def __init__(
        self, scope: Any, headers: dict[bytes, bytes], body: Body, stream: EventStream
    ) -> None:
        self.scope = scope
        self.headers = headers
        self.body = body
        self.stream = stream
        self.counts = False
        self._exchange: Exchange | None = None
        self._begun = self._read_at = time.monotonic()
        self._reading = Wait()

    async def read(self) -> bytes:
        """Read the body; the client's time for it is not counted as one that it waits."""
        try:
            with self._reading.more():
                return await self.body.read()
        finally:
            self._read_at = time.monotonic()

    def begin(self, exchange: Exchange) -> None:
        """Note what was asked."""
        self._exchange = exchange

    def measure(self, status: int) -> None:
        """Count the time that the client waited, and the gateway's own share."""
        now, exchange = time.monotonic(), self._exchange
        if exchange is None:
            if self.counts:
                waited = now - self._read_at
                metrics.SECONDS.labels(NOBODY, NOBODY, str(status)).observe(waited)
            return
        arm = exchange.arm or NOBODY
        metrics.SECONDS.labels(exchange.served_by, arm, str(status)).observe(now - self._read_at)
        others = self._reading.seconds + exchange.elsewhere.seconds
        metrics.OWN_SECONDS.observe(max(0.0, now - self._begun - others))


def _require(method: str, wanted: str, path: str) -> None:
    if method != wanted:
        raise Refused(
            405,
            f"{path[:200]} takes {wanted}, not {method}",
            code="method_not_supported",
            headers={"allow": wanted},
        )
