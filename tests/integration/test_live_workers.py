"""What the workers answer over Redis, as `doctor` asks them; each speaks Celery's own protocol."""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

import pytest
from celery import Celery

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
            yield
        finally:
            stop.set()
            thread.join()


def showing(seconds: float) -> dict[str, Callable[..., Any]]:
    """A worker whose clock is ahead by these seconds."""
    return {"wall_clock": lambda _: {"now": commands.wall_clock(None)["now"] + seconds}}


def test_each_clock_is_compared_and_a_worker_that_does_not_know_the_question_is_left_out(
    redis_url: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    app = Celery("tests", broker=redis_url)
    monkeypatch.setattr(live_workers, "app", app)
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
