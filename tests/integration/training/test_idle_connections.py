"""Clients that ask many questions at once keep few idle connections: httpx looks at all of them."""

from __future__ import annotations

import asyncio

import pytest

from babylon_tasks.training.client import openai_client
from babylon_tasks.training.vllm_front.upstream import new_client

AT_ONCE = 64
MOST_IDLE = 20
ANSWER = b'{"object": "list", "data": []}'


class Server:
    """Answers every request, once all of a burst have come; knows who is still connected."""

    def __init__(self) -> None:
        self.connected: set[asyncio.StreamWriter] = set()
        self.most = 0
        self._all_here = asyncio.Barrier(AT_ONCE)

    async def answer(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self.connected.add(writer)
        self.most = max(self.most, len(self.connected))
        try:
            while True:
                await reader.readuntil(b"\r\n\r\n")
                await self._all_here.wait()
                head = f"HTTP/1.1 200 OK\r\ncontent-length: {len(ANSWER)}\r\n"
                writer.write(f"{head}content-type: application/json\r\n\r\n".encode() + ANSWER)
        except asyncio.IncompleteReadError:  # it has closed
            writer.close()
            await writer.wait_closed()
            self.connected.remove(writer)

    async def stay(self, at_most: int) -> int:
        async with asyncio.timeout(60):
            while len(self.connected) > at_most:
                await asyncio.sleep(0.01)
        return len(self.connected)


async def _after_a_burst(agents: bool) -> tuple[int, int]:
    """Ask at once; returns how many connections there were, and how many stay."""
    server = Server()
    async with await asyncio.start_server(server.answer, "127.0.0.1", 0) as listening:
        url = f"http://127.0.0.1:{listening.sockets[0].getsockname()[1]}/v1"
        if agents:
            async with openai_client(base_url=url, api_key="key", max_retries=0) as client:
                await asyncio.gather(*(client.models.list() for _ in range(AT_ONCE)))
                staying = await server.stay(at_most=MOST_IDLE)
        else:
            async with new_client() as front:
                await asyncio.gather(*(front.get(f"{url}/models") for _ in range(AT_ONCE)))
                staying = await server.stay(at_most=MOST_IDLE)
        await server.stay(at_most=0)
    return server.most, staying


@pytest.mark.parametrize("agents", [True, False])
def test_all_are_asked_at_once_and_few_connections_are_kept(*, agents: bool) -> None:
    """By the agents' client of a policy, and by the front of vLLM."""
    assert asyncio.run(_after_a_burst(agents)) == (AT_ONCE, MOST_IDLE)
