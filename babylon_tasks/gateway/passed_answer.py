"""Read another server's answer, which was passed on as it came: whole, or a stream of events."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import msgspec

from babylon_tasks.recorder.completion import Completion, read_completion

_DATA = b"data:"
_DONE = b"[DONE]"


def read_passed(content: bytes, *, streamed: bool) -> Completion:
    """Read the first answer; raises what ``captured`` says of those that cannot be read."""
    if streamed:
        return read_completion(_whole(_chunks(content)))
    return read_completion(msgspec.json.decode(content, type=dict[str, Any]))


def _chunks(content: bytes) -> Iterator[dict[str, Any]]:
    for line in content.splitlines():
        data = line.removeprefix(_DATA).strip() if line.startswith(_DATA) else b""
        if data and data != _DONE:
            yield msgspec.json.decode(data, type=dict[str, Any])


def _whole(chunks: Iterator[dict[str, Any]]) -> dict[str, Any]:
    """Join a stream's chunks to the answer that they are parts of."""
    texts: list[str] = []
    finish_reason: Any = None
    usage: Any = None
    for chunk in chunks:
        if chunk.get("error"):
            raise LookupError("the stream ended with an error")
        groq = chunk.get("x_groq") or {}
        usage = chunk.get("usage") or groq.get("usage") or usage
        for choice in chunk.get("choices") or ():
            if choice.get("index", 0) == 0:
                texts.append((choice.get("delta") or {}).get("content") or "")
                finish_reason = choice.get("finish_reason") or finish_reason
    if not texts:
        raise LookupError("the stream has no answer")
    message = {"role": "assistant", "content": "".join(texts)}
    choice = {"message": message, "finish_reason": finish_reason}
    return {"choices": [choice], "usage": usage}
