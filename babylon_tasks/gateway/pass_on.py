"""Pass another server's answer on, byte by byte, and keep a copy to be captured.

A stream goes on as it comes. Who wants an answer whole gets it when it is, up to 4 MiB: one that
ends too soon is an error in OpenAI's shape then, not a lost connection. Nothing of it is read
here: that is for the thread that writes captures.
"""

from __future__ import annotations

import uuid

from msgspec import Struct

from babylon_tasks.gateway.away import Away, AwayReason, away_by
from babylon_tasks.gateway.capture import Capture
from babylon_tasks.gateway.capture_state import CaptureState
from babylon_tasks.gateway.captured import PassedOn
from babylon_tasks.gateway.exchange import Exchange
from babylon_tasks.gateway.no_answer import RETRY
from babylon_tasks.gateway.refused_requests import RefusedRequests
from babylon_tasks.gateway.routes import ToUpstream
from babylon_tasks.gateway.server_keys import ServerKeys
from babylon_tasks.gateway.servers import Servers, parts, passed_on
from babylon_tasks.http_server.deliver import Answer
from babylon_tasks.http_server.refusals import Refused
from babylon_tasks.settings import Settings

# Of one answer: a stream of 8,192 tokens takes 2.5 MB.
_KEPT_BYTES = 4 * 2**20


class PassOn(Struct, frozen=True):
    """Asks the servers of BABYLON_GATEWAY_UPSTREAMS."""

    settings: Settings
    servers: Servers
    keys: ServerKeys
    refused: RefusedRequests
    capture: Capture

    async def __call__(
        self, exchange: Exchange, route: ToUpstream, *, named: bool
    ) -> Answer | None:
        """Answer by another server. Raises Refused.

        ``named``: the agent asked for this server's model, so it gets what this server says. Else
        it asked for a checkpoint, and learns nothing of another server's keys and models.
        """
        exchange.served_by = route.server
        exchange.labels["x-babylon-served-by"] = route.server
        asked, stream, streamed = exchange.asked, exchange.stream, exchange.asked.stream
        body = asked.raw if named else asked.for_another(route.model)
        waited, kept = exchange.elsewhere.seconds, bytearray()
        base_url = self.settings.gateway_upstreams[route.server].base_url
        try:
            async with self.servers.passing(
                base_url,
                self.keys.of_upstream(route.server),
                body,
                exchange.elsewhere,
                seconds=self.settings.gateway_timeout_seconds,
                accept="text/event-stream" if streamed else "application/json",
            ) as response:
                if not 200 <= response.status < 600:  # HTTP has no such answer: nor has the client
                    raise Away(AwayReason.BROKEN, response.status)
                away = away_by(response.status)
                ours = away is not None and _is_ours(away, named=named)
                if ours:
                    key = "BABYLON_GATEWAY_UPSTREAM_KEYS"
                    self.refused.note(route.server, response.status, base_url, key)
                if (stream.begun and response.status != 200) or (ours and not named):
                    raise away or Away(AwayReason.ERROR, response.status)
                headers = {**passed_on(response.headers), **exchange.labels}
                if stream.begun:
                    await exchange.begin()
                elif streamed:
                    await stream.begin(response.status, headers)
                async for part in parts(response, exchange.elsewhere):
                    if len(kept) <= _KEPT_BYTES:
                        kept += part
                    if stream.begun:
                        await stream.write(part)
                    elif len(kept) > _KEPT_BYTES:
                        await stream.begin(response.status, headers)
                        await stream.write(bytes(kept))
            if not stream.begun:
                await stream.begin(response.status, headers)
                await stream.write(bytes(kept))
            await stream.end()
        except Away as away:
            if stream.begun and not streamed:
                return Answer(b"", 502)  # anything sent now would pass for the rest of the answer
            return await exchange.fail(
                Refused(
                    502,
                    f"server {route.server} of BABYLON_GATEWAY_UPSTREAMS gave no answer: "
                    f"{away.reason}",
                    headers=RETRY,
                )
            )
        if response.status == 200:
            self._keep(exchange, route, bytes(kept), exchange.elsewhere.seconds - waited)
        return None

    def _keep(self, exchange: Exchange, route: ToUpstream, content: bytes, seconds: float) -> None:
        if len(content) > _KEPT_BYTES:
            self.capture.lose(CaptureState.TOO_LARGE, f"an answer of {route.server}/{route.model}")
            return
        self.capture.put(
            PassedOn(
                capture_id=uuid.uuid4(),
                asked_at=exchange.asked_at,
                asked=exchange.asked,
                asker=exchange.asker,
                client=exchange.client,
                latency_ms=round(seconds * 1000),
                size=len(exchange.asked.raw) + len(content),
                arm=exchange.arm,
                caller=exchange.caller,
                lineage=self.settings.lineage,
                server=route.server,
                model=route.model,
                content=content,
            )
        )


def _is_ours(away: Away, *, named: bool) -> bool:
    """Check whether what is wrong is in the gateway's settings, not in the request."""
    if away.reason is AwayReason.NO_MODEL:
        return not named
    return away.reason is AwayReason.REFUSED
