"""Offer one replica's capture ten times what it can write: ``python -m bench.capture_flood``.

In a process of its own, by the same calls as the gateway's requests make, but without HTTP: a
replica answers less than it can capture, so clients could not offer that much. ``DATABASE_URL`` is
that of a database with a lineage. First it is measured how many a second it brings to Postgres,
then ten times as many are offered. The files' bound is small, so that it is reached within seconds.
"""

from __future__ import annotations

import argparse
import copy
import os
import resource
import tempfile
import time
import uuid
from array import array
from datetime import datetime
from itertools import count
from pathlib import Path

import psutil
from prometheus_client import REGISTRY
from pydantic import SecretStr

from babylon_tasks import log
from babylon_tasks.db import clock
from babylon_tasks.db.session import session
from babylon_tasks.gateway.asker import AgentSource, Asker
from babylon_tasks.gateway.capture import QUEUE_BYTES, Capture
from babylon_tasks.gateway.captured import Sampled
from babylon_tasks.gateway.request import GatewayRequest
from babylon_tasks.gateway.trainer_reply import SampleState
from babylon_tasks.recorder.completion import Completion
from babylon_tasks.settings import Settings

TIMES = 10
TOKENS = 300
SPOOL_BYTES = 16 * 2**20
_TICK = 0.01
_LOST = ("queue_full", "spool_full", "disk", "torn", "unreadable", "refused")
_QUESTION = b'{"model":"bench","messages":[{"role":"user","content":"' + b"word " * 4000 + b'"}]}'
_IDS = array("i", range(12_345, 12_345 + TOKENS)).tobytes()
_LOGPROBS = array("d", [-0.0123456] * TOKENS).tobytes()
_SIZE = len(_QUESTION) + 3 * 30_000  # as the gateway counts: log-probabilities as JSON are 30 kB
_ASKER = Asker("agent-7", AgentSource.HEADER)
_ASKED = GatewayRequest(_QUESTION)
_NUMBERS = count(1)


def sampled(asked_at: datetime) -> Sampled:
    """Make an answer with a question, ids and log-probabilities of its own, as a request does."""
    asked = copy.copy(_ASKED)
    asked.raw = bytes(bytearray(_QUESTION))
    found = Completion(
        model="bench",
        response="word " * TOKENS,
        token_ids=tuple(array("i", _IDS)),
        logprobs=tuple(array("d", _LOGPROBS)),
        finish_reason="stop",
        prompt_tokens=4000,
        completion_tokens=TOKENS,
    )
    return Sampled(
        capture_id=uuid.UUID(int=next(_NUMBERS)),
        asked_at=asked_at,
        asked=asked,
        asker=_ASKER,
        client="bench",
        policy="bench@0",
        found=found,
        state=SampleState.COMPLETE,
        latency_ms=500,
        size=_SIZE,
    )


def counted(*states: str) -> int:
    """Read how many captures ended in these states so far."""
    name = "babylon_gateway_captures_total"
    return sum(int(REGISTRY.get_sample_value(name, {"state": one}) or 0) for one in states)


def resident() -> float:
    """Return this process's memory in MB."""
    return psutil.Process().memory_info().rss / 2**20


def offer(capture: Capture, asked_at: datetime, rate: float, seconds: float) -> int:
    """Put so many a second; returns how many were put."""
    begun, put = time.monotonic(), 0
    while (now := time.monotonic()) < begun + seconds:
        due = int((now - begun) * rate)
        for _ in range(due - put):
            capture.put(sampled(asked_at))
        put = max(put, due)
        time.sleep(_TICK)
    return put


def written_a_second(capture: Capture, asked_at: datetime, seconds: float) -> tuple[float, int]:
    """Offer as much as the queue takes; returns how many reach Postgres a second, and the offer."""
    enough = QUEUE_BYTES / _SIZE / 0.05  # the queue is emptied every 0.05 s
    put = offer(capture, asked_at, enough, seconds / 2)
    before, begun = counted("written"), time.monotonic()
    put += offer(capture, asked_at, enough, seconds)
    return (counted("written") - before) / (time.monotonic() - begun), put


def main() -> None:
    """Print what was written and lost, and how much memory it took."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--seconds", type=float, default=10.0, help="of the flood")
    given = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder:
        settings = Settings(
            database_url=SecretStr(os.environ["DATABASE_URL"]),
            lineage="bench",
            gateway_spool_dir=Path(folder),
            gateway_spool_bytes=SPOOL_BYTES,
            log_level="ERROR",
        )
        log.configure(settings)
        with session(settings) as connection:
            asked_at = clock.now(connection)
        capture = Capture(settings)
        capture.start()
        can, put = written_a_second(capture, asked_at, given.seconds / 3)
        memory = [resident()]
        before = counted("written")
        flood = 0
        for _ in range(2):
            flood += offer(capture, asked_at, TIMES * can, given.seconds / 2)
            memory.append(resident())
        during = counted("written") - before
        capture.stop()
    lost = {state: counted(state) for state in _LOST if counted(state)}
    reasons = ", ".join(f"{count} {state}" for state, count in lost.items())
    unknown = put + flood - counted("written") - sum(lost.values())
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024
    start, middle, end = memory
    print(
        f"  one replica brings {can:.0f} answers a second to Postgres; offered "
        f"{flood / given.seconds / can:.1f} times as many for {given.seconds:g} s "
        f"({flood / given.seconds:.0f} a second), it brought {during / given.seconds:.0f}\n"
        f"  of all {put + flood} answers {counted('written')} were written, {sum(lost.values())} "
        f"lost and counted ({reasons}), {unknown} not accounted for\n"
        f"  {start:.0f} MB resident at the start of it, {middle:.0f} in the middle, {end:.0f} at "
        f"the end, {peak:.0f} at most ({QUEUE_BYTES / 2**20:.0f} MiB of it the queue's bound)"
    )


if __name__ == "__main__":
    main()
