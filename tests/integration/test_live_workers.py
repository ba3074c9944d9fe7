"""What the workers answer over Redis, as `doctor` asks them; each speaks Celery's own protocol."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

import pytest
import redis
from celery import Celery
from celery.beat import BeatPidbox, Service
from kombu import Queue

from babylon_tasks.errors import BrokerUnavailable
from babylon_tasks.sandbox.servers import free_port
from babylon_tasks.settings import load_settings
from babylon_tasks.tasks import commands, live_workers

pytestmark = pytest.mark.contract(None)


@contextmanager
def listening(app: Celery, workers: dict[str, dict[str, Callable[..., Any]]]) -> Iterator[None]:
    """Workers by name, and the commands that each knows."""
    stop = threading.Event()
    with app.connection_for_read() as connection:
        for name, known in workers.items():
            channel = connection.channel()
            app.control.mailbox.Node(name, handlers=known, channel=channel).listen(channel)

        def answer() -> None:
            while not stop.is_set():
                try:
                    connection.drain_events(timeout=0.1)
                except TimeoutError:
                    continue

        thread = threading.Thread(target=answer)
        thread.start()
        try:
            await_listeners(app, len(workers))
            yield
        finally:
            stop.set()
            thread.join()


def await_listeners(app: Celery, least: int) -> None:
    """Until so many nodes hear what is published: subscriptions are made by their threads."""
    deadline = time.monotonic() + 30
    with redis.Redis.from_url(app.conf.broker_url) as client:
        while sum(one["psub"] != "0" for one in client.client_list()) < least:
            assert time.monotonic() < deadline
            time.sleep(0.01)


@pytest.fixture
def app(redis_url: str, monkeypatch: pytest.MonkeyPatch) -> Iterator[Celery]:
    """The application that is asked; our settings name the queues of lineage ``tested``."""
    made = Celery("tests", broker=redis_url)
    monkeypatch.setattr(live_workers, "app", made)
    monkeypatch.setenv("DATABASE_URL", "postgresql://nobody@localhost/nothing")
    monkeypatch.setenv("BABYLON_LINEAGE", "tested")
    load_settings.cache_clear()
    yield made
    load_settings.cache_clear()


def consuming(*queues: str) -> dict[str, Callable[..., Any]]:
    """A worker of these queues, which answers as Celery's own does."""
    answer = [Queue(name).as_dict(recurse=True) for name in queues]
    return {"active_queues": lambda _: answer, "ping": lambda _: {"ok": "pong"}}


def showing(seconds: float) -> dict[str, Callable[..., Any]]:
    """A worker whose clock is ahead by these seconds."""
    return {"wall_clock": lambda _: {"now": commands.wall_clock(None)["now"] + seconds}}


def test_each_queue_has_its_workers_and_one_without_any_is_listed_all_the_same(
    app: Celery,
) -> None:
    workers = {
        "cpu-2@h": consuming("cpu", "upkeep"),
        "cpu-1@h": consuming("cpu"),
        "theirs@h": consuming("gpu.other"),
        "older@h": consuming("gpu", "gpu.tested"),
        "broken@h": {"ping": lambda _: {"ok": "pong"}},  # answers with an error
    }
    with listening(app, workers):
        found = live_workers.workers()
    assert found == {
        "cpu": ["cpu-1@h", "cpu-2@h"],
        "gpu.tested": ["older@h"],
        "upkeep": ["cpu-2@h"],
        "gpu.other": ["theirs@h"],
    }


def test_without_workers_no_queue_has_one_and_no_beat_runs(
    app: Celery, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(live_workers, "ANSWER_SECONDS", 0.1)  # nobody is waited for
    assert live_workers.workers() == {"cpu": [], "gpu.tested": [], "upkeep": []}
    assert live_workers.beats() == []


def test_celerys_own_beat_is_found_among_workers_until_its_scheduler_is_stuck(app: Celery) -> None:
    beat = BeatPidbox(Service(app))
    beat.start()
    try:
        with listening(app, {"cpu-1@h": consuming("cpu"), "celerybeat@b": consuming()}):
            await_listeners(app, 3)
            assert live_workers.beats() == sorted([beat.hostname, "celerybeat@b"])
            beat.service._last_tick = 0.0
            app.conf.beat_remote_control_max_tick_age = 0.001
            assert live_workers.beats() == ["celerybeat@b"]
    finally:
        beat.stop()


@pytest.mark.parametrize(
    "ask",
    [live_workers.workers, live_workers.beats, live_workers.clocks, live_workers.ask_all],
    ids=lambda a: a.__name__,
)
def test_a_redis_that_is_away_is_said_and_not_taken_for_no_worker(
    app: Celery, ask: Callable[[], object]
) -> None:
    app.conf.broker_url = f"redis://127.0.0.1:{free_port()}/0"
    app.conf.broker_transport_options = {"max_retries": 0}
    with pytest.raises(BrokerUnavailable, match="Redis did not forward a command"):
        ask()


def test_each_clock_is_compared_and_a_worker_that_does_not_know_the_question_is_left_out(
    app: Celery,
) -> None:
    workers = {
        "ahead@h": showing(1000),
        "behind@h": showing(-1000),
        "older@h": {"ping": lambda _: {"ok": "pong"}},
        "right@h": showing(0),
    }
    with listening(app, workers):
        found = live_workers.clocks()
    assert list(found) == ["ahead@h", "behind@h", "right@h"]
    assert found["right@h"] == 0, "the time that the answer took is no difference"
    assert 900 < found["ahead@h"] <= 1000
    assert -1000 <= found["behind@h"] < -900


def test_all_is_asked_at_the_same_time(app: Celery) -> None:
    """One of them waits with its answer to one question until it has heard another."""
    heard = threading.Event()

    def wall_clock(_: Any) -> dict[str, float]:
        heard.set()
        return commands.wall_clock(None)

    def ping(_: Any) -> dict[str, str]:
        return {"ok": "pong"} if heard.wait(live_workers.ANSWER_SECONDS / 2) else {}

    with (
        listening(app, {"celerybeat@h": {"ping": ping}}),
        listening(app, {"cpu-1@h": consuming("cpu") | {"wall_clock": wall_clock}}),
    ):
        found = live_workers.ask_all()
    assert heard.is_set()
    assert found.beats == ["celerybeat@h"]
    assert found.workers["cpu"] == ["cpu-1@h"]
    assert list(found.clocks) == ["cpu-1@h"]
