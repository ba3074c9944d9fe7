"""Celery's configuration, setting by setting, and what an import of it costs."""

from __future__ import annotations

import json
import subprocess
import sys
from typing import Any

import pytest
from celery import Celery
from celery.app.defaults import NAMESPACES, flatten
from celery.exceptions import QueueNotFound
from kombu.exceptions import ContentDisallowed
from kombu.serialization import loads

from babylon_tasks.settings import Settings
from babylon_tasks.tasks.app import configuration
from babylon_tasks.tasks.redis_transport import Transport


@pytest.fixture(scope="module")
def conf() -> dict[str, Any]:
    return configuration(
        Settings(
            DATABASE_URL="postgresql://nowhere/x",
            REDIS_URL="redis://127.0.0.1:1/0",
        )
    )


@pytest.fixture(scope="module")
def celery(conf: dict[str, Any]) -> Celery:
    """An application of the same configuration, which touches no other test's."""
    return Celery("test", set_as_current=False, changes=dict(conf))


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("task_acks_late", False),
        ("worker_disable_prefetch", True),
        ("worker_prefetch_multiplier", 1),
        ("task_create_missing_queues", False),
        ("task_ignore_result", True),
        ("accept_content", ["json"]),
        ("task_serializer", "json"),
        ("result_serializer", "json"),
        ("broker_connection_max_retries", None),
        ("broker_connection_retry_on_startup", True),
        ("worker_cancel_long_running_tasks_on_connection_loss", False),
        ("worker_hijack_root_logger", False),
        ("worker_redirect_stdouts", False),
        ("worker_send_task_events", True),
        ("task_send_sent_event", True),
        ("enable_utc", True),
        ("timezone", "UTC"),
    ],
)
def test_what_was_decided_is_what_is_set(celery: Celery, name: str, value: object) -> None:
    assert getattr(celery.conf, name) == value


def test_every_setting_is_one_that_celery_knows(conf: dict[str, Any]) -> None:
    # Celery takes any name without a word, a misspelt one too.
    assert conf.keys() <= {name for name, _ in flatten(NAMESPACES)}


def test_no_call_to_redis_may_wait_for_ever(conf: dict[str, Any]) -> None:
    for options in ("broker_transport_options", "result_backend_transport_options"):
        assert conf[options]["socket_timeout"] <= 10
        assert conf[options]["socket_connect_timeout"] <= 5
    assert conf["redis_socket_timeout"] <= 10
    assert conf["broker_pool_acquire_timeout"] <= 30
    assert conf["task_publish_retry_policy"]["max_retries"] <= 3
    assert conf["result_backend_transport_options"]["retry_policy"]["max_retries"] <= 1


def test_every_task_has_a_queue_that_exists_and_limits_in_their_order(conf: dict[str, Any]) -> None:
    routed = {route["queue"] for route in conf["task_routes"].values()}
    assert routed == {"cpu", "gpu.babylon", "upkeep"}
    assert {queue.name for queue in conf["task_queues"]} == routed | {"gpu"}
    assert conf["task_annotations"].keys() == conf["task_routes"].keys()
    for limits in conf["task_annotations"].values():
        assert 0 < limits["soft_time_limit"] < limits["time_limit"]


def test_a_misspelt_queue_fails_before_anything_is_sent(celery: Celery) -> None:
    with pytest.raises(QueueNotFound):
        celery.send_task("babylon.score_window.v1", ("2026-01-31T09:00",), queue="cpuu")


@pytest.mark.parametrize("scheme", ["redis", "rediss"])
def test_every_address_of_redis_leads_through_our_transport(celery: Celery, scheme: str) -> None:
    assert isinstance(celery.connection(f"{scheme}://127.0.0.1:1/0").transport, Transport)


@pytest.mark.parametrize("content_type", ["application/x-python-serialize", "application/x-yaml"])
def test_only_json_is_read(conf: dict[str, Any], content_type: str) -> None:
    with pytest.raises(ContentDisallowed):
        loads(b"", content_type, "binary", accept=conf["accept_content"])


_PROBE = """
import json, sys
import babylon_tasks.tasks.app as module
module.app.loader.import_default_modules()
module.app.finalize()
print(json.dumps({
    "heavy": sorted({"art", "torch", "transformers", "litellm", "wandb", "peft", "fastapi"}
                    & set(sys.modules)),
    "tasks": sorted(name for name in module.app.tasks if name.startswith("babylon.")),
    "beat": {name: [entry["task"], entry["schedule"].run_every.total_seconds(), entry["options"]]
             for name, entry in module.app.conf.beat_schedule.items()},
}))
"""


@pytest.fixture(scope="module")
def worker() -> dict[str, Any]:
    """What a worker's process knows after its imports."""
    done = subprocess.run(
        [sys.executable, "-c", _PROBE],
        env={"DATABASE_URL": "postgresql://nowhere/x", "BABYLON_UPKEEP_INTERVAL_SECONDS": "60"},
        check=True,
        capture_output=True,
        text=True,
        timeout=60,
    )
    found: dict[str, Any] = json.loads(done.stdout)
    return found


def test_a_worker_imports_nothing_of_training(worker: dict[str, Any]) -> None:
    assert worker["heavy"] == []


def test_a_worker_knows_exactly_the_tasks_that_have_a_queue(
    worker: dict[str, Any], conf: dict[str, Any]
) -> None:
    assert worker["tasks"] == sorted(conf["task_routes"])


def test_beat_starts_all_upkeep_tasks_and_no_clock_lets_their_messages_expire(
    worker: dict[str, Any],
) -> None:
    assert worker["beat"] == {
        "discover": ["babylon.discover.v1", 60, {}],
        "reconcile": ["babylon.reconcile.v1", 60, {}],
        "prune": ["babylon.prune.v1", 600, {}],
    }
