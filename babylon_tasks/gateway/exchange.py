"""One request on its way, and how its answer begins and fails."""

from __future__ import annotations

from datetime import datetime

from msgspec import Struct, field

from babylon_tasks.arms import Arm
from babylon_tasks.gateway.asker import Asker
from babylon_tasks.gateway.request import GatewayRequest
from babylon_tasks.gateway.stream import EVENTS, EventStream, comment
from babylon_tasks.gateway.wait import Wait
from babylon_tasks.http_server.deliver import Answer
from babylon_tasks.http_server.refusals import Refused

CHECKPOINT = "checkpoint"
NOBODY = "none"


class Exchange(Struct):
    """One request under way: who asks, who answers, and how long others have been waited for."""

    asked: GatewayRequest
    stream: EventStream
    groq: bool
    client: str
    asker: Asker
    asked_at: datetime
    caller: str | None = None  # the header traceparent
    served_by: str = NOBODY
    arm: Arm | None = None
    elsewhere: Wait = field(default_factory=Wait)
    labels: dict[str, str] = {}

    async def begin(self) -> None:
        """Begin a stream; one that has begun gets a comment with what its headers did not say."""
        if not self.stream.begun:
            headers = {"content-type": EVENTS, "cache-control": "no-store", **self.labels}
            await self.stream.begin(200, headers)
        elif self.labels:
            await self.stream.write(comment(self.labels))

    async def fail(self, refusal: Refused) -> Answer | None:
        """Refuse; at the end of a stream whose status has been sent, by an event."""
        if not self.stream.begun:
            refusal.headers.update(self.labels)
            raise refusal
        await self.stream.fail(refusal)
        return None
