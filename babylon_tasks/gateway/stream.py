"""A stream of events to the client: made of a whole answer, or another server's passed on."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

import msgspec

from babylon_tasks.http_server.deliver import send_part, start
from babylon_tasks.http_server.refusals import Refused

EVENTS = "text/event-stream; charset=utf-8"
KEEP_ALIVE = b": waiting\n\n"
_HEAD = ("id", "created", "model", "system_fingerprint")
_ONCE = ("prompt_token_ids",)  # in the first chunk, as vLLM's streams have it
_IDS = ("token_ids", "prompt_token_ids")
_DONE = b"data: [DONE]\n\n"


class EventStream:
    """One answer in parts; ``begun``: its status has been sent, and no other can be.

    ``status`` is the one that was sent, or that of the error at its end. Whatever is sent raises
    ClientGone for a client that does not read it.
    """

    def __init__(self, send: Any) -> None:
        self.begun = False
        self.status = 200
        self._send = send

    async def begin(self, status: int, headers: dict[str, str]) -> None:
        """Send status and headers."""
        self.begun = True
        self.status = status
        await send_part(self._send, start(status, headers))

    async def write(self, content: bytes) -> None:
        """Send a part; waits for a client that reads slowly, but not long."""
        message = {"type": "http.response.body", "body": content, "more_body": True}
        await send_part(self._send, message)

    async def end(self) -> None:
        """End the answer."""
        message = {"type": "http.response.body", "body": b"", "more_body": False}
        await send_part(self._send, message)

    async def fail(self, refusal: Refused) -> None:
        """End a stream that has begun with an error, as OpenAI does."""
        self.status = refusal.status
        await self.write(b"data: " + refusal.body + b"\n\n")
        await self.end()


def comment(labels: Mapping[str, str]) -> bytes:
    """Write headers as a comment, which clients of event streams skip."""
    return "".join(f": {name}: {value}\n" for name, value in labels.items()).encode() + b"\n"


def events(reply: dict[str, Any], *, usage: bool, groq: bool) -> Iterator[bytes]:
    """Write an answer as the chunks that OpenAI's clients read, one for each part of a choice.

    ``usage``: it comes last, with no choice; ``groq``: beside the last finish reason, where Groq's
    client looks for it.
    """
    head = {name: reply.get(name) for name in _HEAD}
    head["object"] = "chat.completion.chunk"
    once = {name: reply[name] for name in _ONCE if reply.get(name) is not None}
    for choice in reply["choices"]:
        message, index = choice["message"], choice["index"]
        calls = message.get("tool_calls") or []
        whole = {name: value for name, value in message.items() if name != "tool_calls"}
        first = {"index": index, "delta": whole, "finish_reason": None}
        if choice.get("logprobs") is not None:
            first["logprobs"] = choice["logprobs"]
        first |= {name: choice[name] for name in _IDS if choice.get(name) is not None}
        yield _event({**head, **once, "choices": [first]})
        once = {}
        for place, call in enumerate(calls):
            delta = {"tool_calls": [{"index": place, **call}]}
            yield _event(
                {**head, "choices": [{"index": index, "delta": delta, "finish_reason": None}]}
            )
        last = {"index": index, "delta": {}, "finish_reason": choice.get("finish_reason")}
        more = {"x_groq": {"id": reply["id"], "usage": reply.get("usage")}} if groq else {}
        yield _event({**head, "choices": [last], **more})
    if usage:
        yield _event({**head, "choices": [], "usage": reply.get("usage")})
    yield _DONE


def _event(chunk: dict[str, Any]) -> bytes:
    return b"data: " + msgspec.json.encode(chunk) + b"\n\n"
