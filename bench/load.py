"""Many clients of one HTTP address, each with its own connection and one request at a time."""

from __future__ import annotations

import asyncio
import json
import random
import time
from collections.abc import Mapping
from typing import Any


async def load(
    url: str,
    body: Mapping[str, Any],
    key: str,
    *,
    clients: int,
    seconds: float,
    pause: float = 0.0,
) -> list[float]:
    """Ask for so long; returns how long each answer took, in seconds, from write to last byte.

    A client pauses before each request for a random time of at most ``pause`` seconds: otherwise
    they would go on in the order and at the distances in which they began, for ever. Raises
    RuntimeError for an answer that is not 200.
    """
    host, _, path = url.removeprefix("http://").partition("/")
    name, _, port = host.partition(":")
    content = json.dumps(body, separators=(",", ":")).encode()
    head = (
        f"POST /{path} HTTP/1.1\r\nhost: {host}\r\nauthorization: Bearer {key}\r\n"
        f"content-type: application/json\r\ncontent-length: {len(content)}\r\n\r\n"
    )
    request = head.encode() + content
    spread = min(1.0, clients / 100)  # of the clients' beginnings
    ends = time.perf_counter() + spread + seconds

    async def one(number: int) -> list[float]:
        moments = random.Random(number)
        await asyncio.sleep(spread * number / clients)
        reader, writer = await asyncio.open_connection(name, int(port), limit=2**20)
        took = []
        while time.perf_counter() < ends:
            await asyncio.sleep(moments.uniform(0, pause))
            begun = time.perf_counter()
            writer.write(request)
            await _answer(reader)
            took.append(time.perf_counter() - begun)
        writer.close()
        return took[1:]  # the first opens connections

    return [took for many in await asyncio.gather(*map(one, range(clients))) for took in many]


async def _answer(reader: asyncio.StreamReader) -> None:
    head = (await reader.readuntil(b"\r\n\r\n")).lower()
    if not head.startswith(b"http/1.1 200 "):
        raise RuntimeError(f"{head.decode()}{await reader.read(1000)!r}")
    _, found, length = head.partition(b"content-length:")
    if found:
        await reader.readexactly(int(length.partition(b"\r\n")[0]))
        return
    while size := int(await reader.readuntil(b"\r\n"), 16):
        await reader.readexactly(size + 2)
    await reader.readexactly(2)
