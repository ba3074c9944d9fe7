"""Captured calls while Postgres, the disk or room is away: kept, or lost by name."""

from __future__ import annotations

import json
import shutil
import time
from collections.abc import Callable
from datetime import datetime
from typing import Any

import msgspec
import pytest
from captured_calls import sampled
from prometheus_client import REGISTRY

from babylon_tasks.db import calls, clock
from babylon_tasks.db.calls import CapturedCall
from babylon_tasks.db.session import Connection
from babylon_tasks.errors import DatabaseUnavailable
from babylon_tasks.gateway.asker import AgentSource, Asker
from babylon_tasks.gateway.call_spool import CallSpool
from babylon_tasks.gateway.capture import QUEUE_BYTES, Capture
from babylon_tasks.gateway.request import GatewayRequest
from babylon_tasks.settings import Settings

pytestmark = pytest.mark.contract(None)

MakeSettings = Callable[..., Settings]
NOWHERE = "postgresql://nobody:nothing@127.0.0.1:9/none"


@pytest.fixture
def now(connection: Connection) -> datetime:
    return clock.now(connection)


def count(state: str) -> float:
    return REGISTRY.get_sample_value("babylon_gateway_captures_total", {"state": state}) or 0.0


def written(connection: Connection) -> int:
    row = connection.execute("SELECT count(*) FROM training.calls").fetchone()
    assert row is not None
    return int(row[0])


def until(holds: Callable[[], bool]) -> None:
    deadline = time.monotonic() + 60
    while not holds():
        assert time.monotonic() < deadline, "it did not happen"
        time.sleep(0.01)


def test_while_postgres_is_away_they_wait_and_the_next_process_brings_them(
    make_settings: MakeSettings, connection: Connection, now: datetime
) -> None:
    folder = make_settings().gateway_spool_dir
    away = Capture(make_settings(DATABASE_URL=NOWHERE))
    away.start()
    for _ in range(3):
        away.put(sampled(now))
    away.stop()
    assert written(connection) == 0
    assert len(list(folder.glob("*/*.calls"))) == 1
    before = count("written")
    following = Capture(make_settings())
    following.start()
    until(lambda: written(connection) == 3)
    following.stop()
    assert list(folder.iterdir()) == []
    assert count("written") == before + 3


def test_what_a_dead_process_has_brought_already_is_counted_once(
    make_settings: MakeSettings, connection: Connection, now: datetime
) -> None:
    settings = make_settings()
    dead = Capture(make_settings(DATABASE_URL=NOWHERE))
    dead.start()
    for _ in range(3):
        dead.put(sampled(now))
    dead.stop()
    # It was killed after two of them were in Postgres, and counted.
    folder = settings.gateway_spool_dir
    copied = CallSpool(shutil.copytree(folder, folder.with_name("copy")), 2**20)
    found = copied.next(2, 2**20)
    copied.close()
    assert found is not None
    rows = [msgspec.msgpack.decode(one, type=CapturedCall) for one in found.records]
    calls.insert(connection, rows, settings.calls_kept_hours)
    before = count("written")
    following = Capture(settings)
    following.start()
    following.stop()
    assert written(connection) == 3
    assert count("written") == before + 1


def test_what_is_repeated_because_nobody_knows_whether_it_was_written_is_counted(
    make_settings: MakeSettings,
    connection: Connection,
    now: datetime,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr("babylon_tasks.gateway.capture._SHIP_SECONDS", 0.01)
    insert, tries = calls.insert, list[int]()

    def lost_reply(to: Connection, rows: Any, kept_hours: float) -> Any:
        tries.append(len(rows))
        if len(tries) > 1:
            return insert(to, rows, kept_hours)
        insert(connection, rows, kept_hours)  # written, and then the connection was lost
        raise DatabaseUnavailable("the connection was lost")

    monkeypatch.setattr(calls, "insert", lost_reply)
    before = count("written")
    capture = Capture(make_settings())
    capture.start()
    capture.put(sampled(now))
    until(lambda: len(tries) > 1)
    capture.stop()
    assert written(connection) == 1
    assert count("written") == before + 1


def test_each_record_that_a_crash_damaged_is_counted(
    make_settings: MakeSettings, connection: Connection, now: datetime
) -> None:
    folder = make_settings().gateway_spool_dir
    away = Capture(make_settings(DATABASE_URL=NOWHERE))
    away.start()
    for agent in ("agent-1", "damaged", "agent-2", "damaged", "agent-3"):
        away.put(sampled(now, asker=Asker(agent, AgentSource.HEADER)))
    away.stop()
    [file] = folder.glob("*/*.calls")
    file.write_bytes(file.read_bytes().replace(b"damaged", b"damage?"))
    before = count("torn")
    following = Capture(make_settings())
    following.start()
    until(lambda: written(connection) == 3)
    following.stop()
    assert count("torn") == before + 2


def test_at_the_end_nothing_is_left_behind(
    make_settings: MakeSettings, connection: Connection, now: datetime
) -> None:
    capture = Capture(make_settings())
    capture.start()
    for _ in range(1500):  # three statements of 500
        capture.put(sampled(now))
    capture.stop()
    assert written(connection) == 1500


def test_two_replicas_share_a_folder(
    make_settings: MakeSettings, connection: Connection, now: datetime
) -> None:
    one, other = Capture(make_settings()), Capture(make_settings())
    one.start()
    other.start()
    for _ in range(50):
        one.put(sampled(now))
        other.put(sampled(now))
    one.stop()
    other.stop()
    assert written(connection) == 100


def test_what_finds_no_room_on_disk_is_counted(
    make_settings: MakeSettings, connection: Connection, now: datetime
) -> None:
    before = count("spool_full")
    capture = Capture(make_settings(DATABASE_URL=NOWHERE, gateway_spool_bytes=2**20))
    capture.start()
    for _ in range(5000):
        capture.put(sampled(now))
    capture.stop()
    lost = count("spool_full") - before
    assert lost > 0
    last = Capture(make_settings())
    last.start()
    last.stop()
    assert written(connection) == 5000 - lost


def test_what_finds_no_room_in_memory_is_counted(
    make_settings: MakeSettings, now: datetime
) -> None:
    before = count("queue_full")
    capture = Capture(make_settings())  # nobody takes from its queue yet
    for _ in range(5):
        capture.put(sampled(now, size=QUEUE_BYTES // 3))
    assert count("queue_full") == before + 2


def test_a_folder_that_cannot_be_used_costs_captures_and_nothing_else(
    make_settings: MakeSettings, now: datetime
) -> None:
    settings = make_settings()
    settings.gateway_spool_dir.write_text("a file")
    before = count("disk")
    capture = Capture(settings)
    capture.start()
    capture.put(sampled(now))
    until(lambda: count("disk") == before + 1)
    settings.gateway_spool_dir.unlink()  # once it can be used, it is
    capture.put(sampled(now))
    capture.stop()
    assert count("disk") == before + 1


def test_a_folder_that_is_away_for_a_while_does_not_end_the_shipping(
    make_settings: MakeSettings,
    connection: Connection,
    now: datetime,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr("babylon_tasks.gateway.capture._SHIP_SECONDS", 0.01)
    monkeypatch.setattr("babylon_tasks.gateway.capture._TAKE_OVER_SECONDS", 0)
    looks: list[CallSpool] = []
    take_over = CallSpool.take_over

    def look(spool: CallSpool) -> int:
        looks.append(spool)
        return take_over(spool)

    monkeypatch.setattr(CallSpool, "take_over", look)
    settings = make_settings()
    folder = settings.gateway_spool_dir
    capture = Capture(settings)
    capture.start()
    until(lambda: len(looks) > 1)
    away = folder.rename(folder.with_name("away"))
    before = len(looks)
    until(lambda: len(looks) > before + 2)
    away.rename(folder)
    capture.put(sampled(now))
    until(lambda: written(connection) == 1)
    capture.stop()


def test_a_folder_that_is_deleted_costs_what_waits_there_and_nothing_later(
    make_settings: MakeSettings, connection: Connection, now: datetime
) -> None:
    settings = make_settings()
    folder, before = settings.gateway_spool_dir, count("disk")
    capture = Capture(settings)
    with connection.transaction():  # nothing is written meanwhile
        connection.execute("LOCK TABLE training.calls IN ACCESS EXCLUSIVE MODE")
        capture.start()
        for _ in range(3):
            capture.put(sampled(now))
        until(lambda: any(file.stat().st_size for file in folder.glob("[!.]*/*.calls")))
        shutil.rmtree(folder)
    capture.put(sampled(now))
    until(lambda: written(connection) >= 1)
    capture.stop()
    assert written(connection) + count("disk") - before == 4


def test_texts_that_cannot_be_read_are_counted(make_settings: MakeSettings, now: datetime) -> None:
    before = count("unreadable")
    capture = Capture(make_settings())
    capture.start()
    capture.put(sampled(now, asked=GatewayRequest(b'{"model":"tests","messages":7}')))
    capture.stop()
    assert count("unreadable") == before + 1


@pytest.mark.parametrize(
    ("field", "state"),
    [
        ({"top_k": 20}, "shaped"),
        ({"response_format": {"type": "json_object"}}, "shaped"),
        ({"tools": [{"type": "function"}]}, "shaped"),
        ({"invented": 1}, "shaped"),
        ({"top_k": -1, "tools": [], "frequency_penalty": 0.0, "seed": 4}, "complete"),
    ],
)
def test_a_sample_that_a_parameter_shaped_is_not_complete(
    make_settings: MakeSettings,
    connection: Connection,
    now: datetime,
    field: dict[str, Any],
    state: str,
) -> None:
    asked = {"model": "tests", "messages": [{"role": "user", "content": "?"}], **field}
    capture = Capture(make_settings())
    capture.start()
    capture.put(sampled(now, asked=GatewayRequest(json.dumps(asked).encode())))
    capture.stop()
    row = connection.execute("SELECT sample_state FROM training.calls").fetchone()
    assert row == (state,)


def test_whatever_its_parameters_a_row_is_small_and_says_no_temperature_that_was_none(
    make_settings: MakeSettings, connection: Connection, now: datetime
) -> None:
    asked = {
        "model": "tests",
        "messages": [{"role": "user", "content": "?"}],
        "temperature": "0.5" * 10_000,
        "top_p": {"nested": ["x"] * 10_000},
        "seed": 4,
        "tools": [{}],
        **{f"field-{number}": 1 for number in range(10_000)},
    }
    capture = Capture(make_settings())
    capture.start()
    capture.put(sampled(now, asked=GatewayRequest(json.dumps(asked).encode())))
    capture.stop()
    row = connection.execute("SELECT sampling, sample_state FROM training.calls").fetchone()
    assert row is not None
    sampling, state = row
    assert state == "shaped"
    others = sampling.pop("others")
    assert sampling == {"temperature": None, "top_p": None, "seed": 4}
    assert "tools" in others
    assert len(others) <= 100
