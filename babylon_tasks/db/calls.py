"""Write the calls that the gateway has captured, and drop old ones; each day has a partition."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from datetime import date, datetime, timedelta
from typing import NamedTuple
from uuid import UUID

import psycopg
import structlog
from msgspec import Struct

from babylon_tasks.db import clock
from babylon_tasks.db.session import Connection
from babylon_tasks.db.sql import execute, fetch_value, fetch_values

# Made ahead, so that a gateway whose role may not make partitions can write on for a weekend.
DAYS_AHEAD = 3
_CLOCKS_DIFFER = timedelta(days=1)
_LISTED = 3  # reasons in a line of the log
log = structlog.get_logger(__name__)


class CapturedCall(Struct, frozen=True, kw_only=True, gc=False):
    """One answer as the gateway saw it; columns of ``training.calls``.

    ``step`` is that of the checkpoint that gave it, or else ``server`` and ``model`` say who did.
    ``token_ids`` and ``logprobs`` are packed (int32, float32, little-endian), ``sampling`` is JSON:
    the parameters, and as ``prompt_ids`` the prompt's ids where they are kept, packed, in base64.
    It is stored in files too, which a newer release must be able to read: new fields have defaults.
    """

    capture_id: UUID
    asked_at: datetime
    window_id: str
    agent: str | None
    agent_source: str
    client: str
    lineage: str
    step: int | None
    system_hash: bytes
    user_hash: bytes
    answer_hash: bytes
    sample_state: str
    token_ids: bytes | None
    logprobs: bytes | None
    sampling: str
    finish_reason: str | None
    prompt_tokens: int | None
    completion_tokens: int | None
    latency_ms: int
    arm: str | None = None
    server: str | None = None
    model: str | None = None


class Inserted(NamedTuple):
    """How many calls were written now, and how many never can be; the rest was there already."""

    written: int
    refused: int


def insert(connection: Connection, calls: Sequence[CapturedCall], kept_hours: float) -> Inserted:
    """Write calls that are not there yet.

    Postgres can never take some: older than what is kept, from a clock that is wrong, or with a
    value that the table does not take. To try them again would keep all later ones waiting. The log
    says why.
    """
    why = Counter[str]()
    now = clock.of_hours(connection)
    oldest = _oldest_day(now, kept_hours)
    timely, others = list[CapturedCall](), list[CapturedCall]()
    for one in calls:
        kept = oldest <= _day(one.asked_at) and one.asked_at < now + _CLOCKS_DIFFER
        (timely if kept else others).append(one)
    days = sorted({_day(one.asked_at) for one in timely})
    if days and fetch_values(connection, "calls.missing_days", date, days=days):
        _make_partitions(connection, days[0], days[-1])
    written = _insert(connection, timely, why)
    if others:
        asked = f"one was asked at {others[0].asked_at:%F %T}, and it is {now:%F %T} UTC"
        why[f"too old to be kept, or by a wrong clock: {asked}"] = len(others)
    if why:
        log.warning("captures.refused", why=dict(why.most_common(_LISTED)))
    return Inserted(written, why.total())


def make_partitions_ahead(connection: Connection) -> int:
    """Make the partitions of today and the next days; returns how many were missing."""
    today = _day(clock.of_hours(connection))
    days = [today + timedelta(days=ahead) for ahead in range(DAYS_AHEAD + 1)]
    missing = fetch_values(connection, "calls.missing_days", date, days=days)
    return _make_partitions(connection, days[0], days[-1]) if missing else 0


def drop_old_partitions(connection: Connection, kept_hours: float) -> int:
    """Drop whole days of calls that are older than what is kept; returns how many."""
    before = _oldest_day(clock.of_hours(connection), kept_hours)
    if not fetch_value(connection, "calls.old_days", int, before=before):
        return 0
    return fetch_value(connection, "calls.drop_partitions", int, before=before) or 0


def _insert(connection: Connection, calls: Sequence[CapturedCall], why: Counter[str]) -> int:
    """Write calls together, or else in halves; ``why`` counts those that are refused."""
    if not calls:
        return 0
    columns = {
        name: [getattr(one, name) for one in calls] for name in CapturedCall.__struct_fields__
    }
    try:
        return execute(connection, "calls.insert", **columns)
    except (psycopg.DataError, psycopg.IntegrityError) as error:
        if len(calls) == 1:
            why[error.diag.message_primary or str(error)] += 1
            return 0
    half = len(calls) // 2
    return _insert(connection, calls[:half], why) + _insert(connection, calls[half:], why)


def _make_partitions(connection: Connection, first: date, last: date) -> int:
    return fetch_value(connection, "calls.make_partitions", int, first=first, last=last) or 0


def _oldest_day(now: datetime, kept_hours: float) -> date:
    return _day(now - timedelta(hours=kept_hours))


def _day(moment: datetime) -> date:
    return moment.date()  # the session and the gateway have UTC
