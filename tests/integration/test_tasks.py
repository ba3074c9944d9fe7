"""Messages as they lie in Redis, and the one Task class."""

from __future__ import annotations

import base64
import json
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from types import SimpleNamespace
from typing import Any

import pytest
import redis
import structlog
from celery import Celery
from celery.events import EventReceiver
from celery.result import AsyncResult
from kombu import Connection
from own_process import run
from structlog.contextvars import bind_contextvars

from babylon_tasks.errors import StaleLease, TrainingError, WindowNotFound
from babylon_tasks.sandbox.servers import free_port
from babylon_tasks.settings import Settings, load_settings
from babylon_tasks.tasks import base
from babylon_tasks.tasks.app import KEPT_MESSAGES, KEY_PREFIX, configuration, queues
from babylon_tasks.tasks.base import BabylonTask
from babylon_tasks.tasks.message_gate import admit

pytestmark = pytest.mark.contract(None)
WINDOW = "2026-01-31T09:00"
_SEND = """
from babylon_tasks.tasks.send import send_train, send_windows
send_windows(["2026-01-31T09:00"], ["2026-01-31T08:00"], {"other": ["2026-01-31T07:00"]})
send_train(None)
"""


# --- messages


@pytest.fixture
def messages(settings: Settings) -> Iterator[dict[str, list[dict[str, Any]]]]:
    """What lies in each queue after the three kinds of messages were sent, oldest first."""
    run(_SEND, settings, WANDB_API_KEY="planted-secret")
    with redis.Redis.from_url(settings.redis_url.get_secret_value()) as client:
        yield {
            queue: [json.loads(raw) for raw in reversed(client.lrange(KEY_PREFIX + queue, 0, -1))]  # type: ignore[arg-type]
            for queue in (*queues(settings), "gpu.other")
        }


def body(message: dict[str, Any]) -> list[Any]:
    """args, kwargs and what follows."""
    return json.loads(base64.b64decode(message["body"]))  # type: ignore[no-any-return]


def test_a_message_carries_the_window_id_and_nothing_else(
    messages: dict[str, list[dict[str, Any]]],
) -> None:
    (score,) = messages["cpu"]
    args, kwargs, embedded = body(score)
    assert (score["headers"]["task"], args, kwargs) == ("babylon.score_window.v1", [WINDOW], {})
    assert not any(embedded.values()), "nothing follows from it but its task"

    assert [body(train)[:2] for train in messages["gpu.babylon"]] == [
        [["2026-01-31T08:00"], {}],
        [[None], {}],
    ]
    assert [body(train)[:2] for train in messages["gpu.other"]] == [[["2026-01-31T07:00"], {}]]
    assert messages["gpu"] == [], "only an older release sends there"
    assert messages["upkeep"] == []


def test_no_clock_decides_whether_a_message_is_still_good(
    messages: dict[str, list[dict[str, Any]]],
) -> None:
    for message in [*messages["cpu"], *messages["gpu.babylon"], *messages["gpu.other"]]:
        assert message["headers"]["expires"] is None


def test_each_message_that_is_sent_passes_the_gate(
    messages: dict[str, list[dict[str, Any]]],
) -> None:
    for queue, waiting in messages.items():
        for message in waiting:
            admit(queue, json.dumps(message).encode())


def test_a_queue_that_nobody_empties_keeps_its_newest_messages(
    celery: Celery, settings: Settings
) -> None:
    sent = [f"number-{number}" for number in range(KEPT_MESSAGES["upkeep"] + 3)]
    for name in sent:
        celery.send_task("babylon.discover.v1", task_id=name, queue="upkeep")

    with redis.Redis.from_url(settings.redis_url.get_secret_value()) as client:
        waiting: Any = client.lrange(KEY_PREFIX + "upkeep", 0, -1)
    kept = [json.loads(raw)["headers"]["id"] for raw in reversed(waiting)]
    assert kept in (sent[3:], sent[4:])


def test_a_queue_never_has_more_messages_than_it_keeps(celery: Celery, settings: Settings) -> None:
    lengths = set()
    with redis.Redis.from_url(settings.redis_url.get_secret_value()) as client:
        for _ in range(KEPT_MESSAGES["upkeep"] + 30):
            celery.send_task("babylon.discover.v1", queue="upkeep")
            lengths.add(client.llen(KEY_PREFIX + "upkeep"))

    assert max(lengths) == KEPT_MESSAGES["upkeep"]


@pytest.mark.parametrize("turn", [("discover", "reconcile"), ("reconcile", "discover")])
def test_of_tasks_that_are_sent_in_turn_each_is_run_however_long_one_takes(
    celery: Celery, settings: Settings, turn: tuple[str, str]
) -> None:
    """A worker that is slower than beat: four ticks for each message that it takes."""
    taken = []
    with redis.Redis.from_url(settings.redis_url.get_secret_value()) as client:
        for _ in range(60):
            for task in turn * 4:
                celery.send_task(f"babylon.{task}.v1", queue="upkeep")
            oldest: Any = client.rpop(KEY_PREFIX + "upkeep")
            taken.append(json.loads(oldest)["headers"]["task"])

    assert set(taken) == {"babylon.discover.v1", "babylon.reconcile.v1"}


def test_no_secret_travels_in_a_message(
    messages: dict[str, list[dict[str, Any]]], settings: Settings
) -> None:
    sent = [message for queue in messages.values() for message in queue]
    text = json.dumps([sent, [body(message) for message in sent]])
    assert "planted-secret" not in text
    for url in (settings.database_url, settings.redis_url):
        password = url.get_secret_value().split(":")[2].split("@")[0]
        assert len(password) > 8
        assert password not in text


# --- the Task class


@pytest.fixture
def celery(settings: Settings, monkeypatch: pytest.MonkeyPatch) -> Iterator[Celery]:
    """An application of our configuration with tasks of the test's own."""
    monkeypatch.setenv("DATABASE_URL", settings.database_url.get_secret_value())
    monkeypatch.setenv("BABYLON_LINEAGE", "tested")
    load_settings.cache_clear()
    yield Celery("tested", set_as_current=False, changes=configuration(settings))
    load_settings.cache_clear()


def test_a_stale_lease_ends_quietly_with_the_reason_in_the_log(celery: Celery) -> None:
    @celery.task(base=BabylonTask, bind=True, shared=False)
    def superseded(self: BabylonTask, window: str) -> None:
        raise StaleLease("attempt 7 holds the lineage")

    with structlog.testing.capture_logs() as logs:
        ended = superseded.apply((WINDOW,))

    assert ended.state == "SUCCESS"
    assert "newer claimant: attempt 7 holds the lineage" in ended.result["summary"]
    (logged,) = [entry for entry in logs if entry["event"] == "task.superseded"]
    assert logged["why"] == "attempt 7 holds the lineage"


@pytest.mark.parametrize("error", [TrainingError, WindowNotFound])
def test_any_other_error_of_ours_is_logged_and_fails_the_task(
    celery: Celery, error: type[Exception]
) -> None:
    @celery.task(base=BabylonTask, bind=True, shared=False)
    def failing(self: BabylonTask, window: str) -> None:
        raise error("what happened; what to do")

    with structlog.testing.capture_logs() as logs:
        ended = failing.apply((WINDOW,))

    assert ended.state == "FAILURE"
    assert isinstance(ended.result, error)
    (logged,) = [entry for entry in logs if entry["event"] == "task.failed"]
    assert (logged["error"], logged["why"]) == (error.__name__, "what happened; what to do")


def test_no_secret_leaves_a_worker_in_what_its_task_returns_or_raises(
    celery: Celery, settings: Settings
) -> None:
    url = settings.database_url.get_secret_value()
    password = url.split(":")[2].split("@")[0]
    assert len(password) > 8

    @celery.task(base=BabylonTask, bind=True, shared=False)
    def failing(self: BabylonTask) -> None:
        raise RuntimeError(f"cannot reach {url}, I tried {password}")

    @celery.task(base=BabylonTask, bind=True, shared=False)
    def saying(self: BabylonTask) -> Any:
        return self.task_result(f"reached {url} with {password}")

    failed, succeeded = failing.apply(), saying.apply()

    assert (failed.state, succeeded.state) == ("FAILURE", "SUCCESS")
    assert "cannot reach postgresql://" in failed.traceback
    assert password not in f"{failed.result!r} {failed.traceback}"
    assert "reached postgresql://" in succeeded.result["summary"]
    assert password not in repr(succeeded.result)


def test_what_a_task_says_is_bounded(celery: Celery) -> None:
    @celery.task(base=BabylonTask, bind=True, shared=False)
    def verbose(self: BabylonTask) -> Any:
        return self.task_result("word " * 1000)

    summary = verbose.apply().result["summary"]

    assert (len(summary), summary[-1]) == (500, "…")


@pytest.mark.parametrize(("args", "kwargs"), [((WINDOW,), {}), ((), {"window": WINDOW})])
def test_every_line_logged_in_a_task_has_its_window_and_lineage(
    celery: Celery, args: tuple[str, ...], kwargs: dict[str, str]
) -> None:
    seen: list[dict[str, Any]] = []

    @celery.task(base=BabylonTask, bind=True, shared=False)
    def speaking(self: BabylonTask, window: str) -> None:
        seen.append(structlog.contextvars.get_contextvars())

    speaking.apply(args, kwargs)

    assert (seen[0]["window"], seen[0]["lineage"]) == (WINDOW, "tested")
    assert "window" not in structlog.contextvars.get_contextvars()


@pytest.mark.filterwarnings("ignore:Call to deprecated setex")  # Celery 5.7.0's call, not ours
def test_progress_shows_as_celerys_own_state(
    celery: Celery, monkeypatch: pytest.MonkeyPatch
) -> None:
    clock = SimpleNamespace(monotonic=lambda: 1000.0)
    monkeypatch.setattr(base, "time", clock)

    @celery.task(base=BabylonTask, bind=True, shared=False)
    def moving(self: BabylonTask) -> None: ...

    moving.push_request(id="task-1", hostname="gpu@there")
    bind_contextvars(window=WINDOW, lineage="tested", step=4)
    with capture_events(celery) as events:
        moving.report_progress("training: 3 of 8", done=3, total=8)
        clock.monotonic = lambda: 1000.9
        moving.report_progress("training: 4 of 8", done=4, total=8)  # within a second: not sent

    fields = {"window": WINDOW, "lineage": "tested", "step": 4, "summary": "training: 3 of 8"}
    shown = AsyncResult("task-1", app=celery)
    assert shown.state == "PROGRESS"
    assert shown.info == fields | {"done": 3, "total": 8}
    (event,) = events
    assert (event["type"], event["uuid"], event["hostname"]) == (
        "task-progress",
        "task-1",
        "gpu@there",
    )
    assert event.items() >= fields.items()


@contextmanager
def capture_events(celery: Celery) -> Iterator[list[dict[str, Any]]]:
    """What a monitor, as Flower is one, hears meanwhile."""
    heard: list[dict[str, Any]] = []
    with celery.connection() as own:
        receiver = EventReceiver(own, handlers={"*": heard.append}, app=celery)
        with receiver.consumer_context(wakeup=False) as (connection, _channel, _consumers):
            _drain(connection)  # subscribes
            yield heard
            _drain(connection)


def _drain(connection: Connection) -> None:
    with suppress(TimeoutError):
        while True:
            connection.drain_events(timeout=0.3)


def test_work_continues_when_its_progress_cannot_be_reported(celery: Celery) -> None:
    @celery.task(base=BabylonTask, bind=True, shared=False)
    def moving(self: BabylonTask) -> None: ...

    celery.conf.result_backend = f"redis://127.0.0.1:{free_port()}/0"
    moving.push_request(id="task-1")
    with structlog.testing.capture_logs() as logs:
        moving.report_progress("moving", done=1)

    assert [entry["event"] for entry in logs] == ["progress.not_reported"]


def test_the_error_of_a_sender_without_redis_says_that_nothing_is_lost(settings: Settings) -> None:
    script = """
from babylon_tasks.errors import BrokerUnavailable
from babylon_tasks.tasks.send import send_score
try:
    send_score("2026-01-31T09:00")
except BrokerUnavailable as error:
    print(error)
"""
    away = f"redis://:planted-secret@127.0.0.1:{free_port()}/0"
    said = run(script, settings, REDIS_URL=away)
    assert "nothing is lost" in said
    assert "planted-secret" not in said
