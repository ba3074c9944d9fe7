"""Offer one replica's capture ten times what it can write: ``python -m bench.capture_flood``.

In a process of its own, by the same calls as the gateway's requests make, but without HTTP: a
replica answers less than it can capture, so clients could not offer that much, and what it is for
them is not measured here. ``DATABASE_URL`` is that of a database with a lineage. It is measured how
many a second reach Postgres, then ten times as many are offered, which fills the queue; at last
Postgres's table is locked meanwhile, which fills the files too. The memory is that of this process,
with its samples, which are made before: they lie in it once, however many wait.

Ends with an error where less than ten times was offered, or where Postgres and the counters differ.
"""

from __future__ import annotations

import argparse
import os
import resource
import sys
import tempfile
import time
import uuid
from array import array
from datetime import datetime
from itertools import count, cycle
from pathlib import Path
from typing import NamedTuple

import msgspec
import psutil
import psycopg
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
AIMED = 11  # so that ten times is reached although ticks come late
TOKENS = 300
SPOOL_BYTES = 8 * 2**20
CLIENT = "flood"
LOCKED = 4.0  # seconds: under what the capture waits for a silent Postgres
MADE = 1000  # samples; the queue holds a third as many
_TICK = 0.01
_LOST = ("queue_full", "spool_full", "disk", "torn", "too_large", "unreadable", "refused")
_QUESTION = b'{"model":"bench","messages":[{"role":"user","content":"' + b"word " * 4000 + b'"}]}'
_IDS = array("i", range(12_345, 12_345 + TOKENS)).tobytes()
_LOGPROBS = array("d", [-0.0123456] * TOKENS).tobytes()
# As the gateway counts: log-probabilities as JSON are 30 kB, the ids of the prompt 28 kB.
_SIZE = len(_QUESTION) + 3 * 58_000
_ASKER = Asker("agent-7", AgentSource.HEADER)
_NUMBERS = count(1)


def sampled(asked_at: datetime) -> Sampled:
    """Make an answer with a question, ids and log-probabilities of its own, as a request does."""
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
        asked=GatewayRequest(bytes(bytearray(_QUESTION))),
        asker=_ASKER,
        client=CLIENT,
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


class Offered(NamedTuple):
    """How many were put, and what came of it in that time."""

    put: int
    a_second: float
    written_a_second: float


class Offer:
    """Puts samples that are ready: what takes the interpreter is the capture, not their making."""

    def __init__(self, capture: Capture, asked_at: datetime) -> None:
        self._capture = capture
        self._samples = cycle([sampled(asked_at) for _ in range(MADE)])
        self.put = 0

    def __call__(self, rate: float, seconds: float) -> Offered:
        """Put so many a second."""
        written, put, begun = counted("written"), 0, time.monotonic()
        while (now := time.monotonic()) < begun + seconds:
            due = int((now - begun) * rate)
            for _ in range(due - put):
                number = uuid.UUID(int=next(_NUMBERS))
                self._capture.put(msgspec.structs.replace(next(self._samples), capture_id=number))
            put = max(put, due)
            time.sleep(_TICK)
        took = time.monotonic() - begun
        self.put += put
        return Offered(put, put / took, (counted("written") - written) / took)


def in_postgres(url: str) -> int:
    """Count this benchmark's rows."""
    with psycopg.connect(url) as connection:
        row = connection.execute(
            "SELECT count(*) FROM training.calls WHERE client = %s", [CLIENT]
        ).fetchone()
    return int(row[0]) if row else 0


def main() -> None:
    """Print what was written and lost, and how much memory it took."""
    # As the gateway's own process has it.
    sys.setswitchinterval(0.0005)
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--seconds", type=float, default=10.0, help="of the flood")
    given = parser.parse_args()
    url = os.environ["DATABASE_URL"]
    with tempfile.TemporaryDirectory() as folder:
        settings = Settings(
            database_url=SecretStr(url),
            lineage="bench",
            gateway_spool_dir=Path(folder),
            gateway_spool_bytes=SPOOL_BYTES,
            log_level="ERROR",
        )
        log.configure(settings)
        with session(settings) as connection:
            asked_at = clock.now(connection)
        rows = in_postgres(url)
        capture = Capture(settings)
        offer = Offer(capture, asked_at)
        capture.start()
        enough = QUEUE_BYTES / _SIZE / 0.05  # all that the queue takes, emptied every 0.05 s
        offer(enough, given.seconds / 4)
        can = offer(enough, given.seconds / 2).written_a_second
        memory = [resident()]
        flood = []
        for _ in range(2):
            flood.append(offer(AIMED * can, given.seconds / 2))
            memory.append(resident())
        with psycopg.connect(url) as locking:
            locking.execute("LOCK TABLE training.calls IN ACCESS EXCLUSIVE MODE")
            offer(AIMED * can, LOCKED)
            memory.append(resident())
        capture.stop()
    _report(can, flood, memory, offer.put, in_postgres(url) - rows)


def _report(
    can: float, flood: list[Offered], memory: list[float], put: int, in_database: int
) -> None:
    lost = {state: counted(state) for state in _LOST if counted(state)}
    reasons = ", ".join(f"{count} {state}" for state, count in lost.items())
    written = counted("written")
    unknown = put - written - sum(lost.values())
    offered = sum(one.a_second for one in flood) / len(flood)
    brought = sum(one.written_a_second for one in flood) / len(flood)
    times = offered / max(can, brought)
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024
    start, middle, end, locked = memory
    print(
        f"  one replica brings {can:.0f} answers a second to Postgres; offered {times:.1f} times "
        f"as many ({offered:.0f} a second), it brought {brought:.0f}; then {LOCKED:g} s more with "
        f"Postgres's table locked\n"
        f"  of all {put} answers {in_database} are in Postgres ({written} by the counter), "
        f"{sum(lost.values())} lost and counted ({reasons}), {unknown} not accounted for\n"
        f"  {start:.0f} MB resident at the start of it, {middle:.0f} in the middle, {end:.0f} at "
        f"the end, {locked:.0f} with the table locked, {peak:.0f} at most; ready samples included",
        flush=True,
    )
    if times < TIMES:
        sys.exit(f"only {times:.1f} times as many were offered, not {TIMES}: no flood was measured")
    if in_database != written or unknown:
        sys.exit(
            f"{in_database} answers are in Postgres, {written} by the counter, and {unknown} are "
            "not accounted for"
        )


if __name__ == "__main__":
    main()
