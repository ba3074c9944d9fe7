"""An OpenAI-compatible server that answers after a fixed time: ``python -m bench.slow_server``.

As little HTTP as that takes, so that it is not what is measured. Prints its port; the argument is
how many tokens an answer has, with ids and log-probabilities, and with the ids of its prompt as the
trainer sends them. A request's ``user`` is after how many seconds it is answered; without one it is
answered at once.
"""

from __future__ import annotations

import asyncio
import json
import sys

_PROMPT = 4000  # tokens
_USER = b'"user":"'


def answer(tokens: int) -> bytes:
    """Make a response with an answer of ``tokens``, as vLLM writes it; 0: of text alone."""
    choice = {"index": 0, "message": {"role": "assistant", "content": "word " * 300}}
    found = [{"token": "word", "logprob": -0.0123456, "bytes": [119] * 4, "top_logprobs": []}]
    if tokens:
        choice |= {"logprobs": {"content": found * tokens}, "token_ids": [12345] * tokens}
    usage = {"prompt_tokens": _PROMPT, "completion_tokens": tokens or 300, "total_tokens": 4300}
    reply = {"id": "c", "object": "chat.completion", "created": 1, "model": "m", "usage": usage}
    if tokens:
        reply["prompt_token_ids"] = [12345] * _PROMPT
    body = json.dumps({**reply, "choices": [{**choice, "finish_reason": "stop"}]}).encode()
    return b"HTTP/1.1 200 OK\r\ncontent-type: application/json\r\ncontent-length: %d\r\n\r\n%b" % (
        len(body),
        body,
    )


class _Connection(asyncio.Protocol):
    def __init__(self, answer: bytes) -> None:
        self._answer = answer
        self._read = bytearray()

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        assert isinstance(transport, asyncio.Transport)
        self._transport = transport

    def data_received(self, data: bytes) -> None:
        self._read += data
        head, found, body = self._read.partition(b"\r\n\r\n")
        if not found:
            return
        length = int(head.lower().partition(b"content-length:")[2].partition(b"\r\n")[0] or 0)
        if len(body) == length:
            seconds = float(body.partition(_USER)[2].partition(b'"')[0] or 0)
            self._read.clear()
            loop = asyncio.get_running_loop()
            loop.call_later(seconds, self._transport.write, self._answer)


async def _serve(tokens: int) -> None:
    content = answer(tokens)
    loop = asyncio.get_running_loop()
    server = await loop.create_server(lambda: _Connection(content), "127.0.0.1", 0)
    print(server.sockets[0].getsockname()[1], flush=True)
    await server.serve_forever()


if __name__ == "__main__":
    asyncio.run(_serve(int(sys.argv[1])))
