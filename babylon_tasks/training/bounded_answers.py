"""Bound the answers of other people's servers: it is they who choose how long an answer is.

ART and litellm read an answer whole, whatever its length, and decompress it a thousandfold.
"""

from __future__ import annotations

from collections.abc import AsyncIterator

import httpx

# A judge explains each of its grades; W&B lists the events of a job. Both take some 100 KB.
MOST_BYTES = 8 * 2**20


class AnswerRefused(httpx.ReadError):
    """A server's answer is too long, or compressed although that was not asked for."""


def bound_answers(transport: type[httpx.AsyncBaseTransport]) -> None:
    """Bound every answer over such a transport in this process, errors and redirects included.

    For good, since the libraries make their clients themselves. An answer that is refused raises
    AnswerRefused, as if the connection were lost.
    """
    send = transport.handle_async_request

    async def send_bounded(
        self: httpx.AsyncBaseTransport, request: httpx.Request
    ) -> httpx.Response:
        request.headers["accept-encoding"] = "identity"
        response = await send(self, request)
        stream = response.stream
        assert isinstance(stream, httpx.AsyncByteStream)  # noqa: S101  # of an asynchronous one
        packed = response.headers.get("content-encoding", "identity")
        if packed != "identity":
            await stream.aclose()
            raise AnswerRefused(
                f"{request.url.host} packed its answer ({packed[:20]!r}), which was not asked for",
                request=request,
            )
        response.stream = _Bounded(stream, request)
        return response

    transport.handle_async_request = send_bounded  # type: ignore[method-assign]


class _Bounded(httpx.AsyncByteStream):
    def __init__(self, stream: httpx.AsyncByteStream, request: httpx.Request) -> None:
        self._stream = stream
        self._request = request

    async def __aiter__(self) -> AsyncIterator[bytes]:
        read = 0
        async for part in self._stream:
            read += len(part)
            if read > MOST_BYTES:
                raise AnswerRefused(
                    f"{self._request.url.host} answered with more than {MOST_BYTES // 2**20} MiB; "
                    "the rest was not read",
                    request=self._request,
                )
            yield part

    async def aclose(self) -> None:
        await self._stream.aclose()
