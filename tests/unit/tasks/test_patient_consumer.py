"""A worker whose Redis answers with errors waits for it, unless it is stopped meanwhile."""

from __future__ import annotations

import pytest
from celery import Celery
from celery.exceptions import WorkerShutdown
from celery.worker import state
from redis.exceptions import ReadOnlyError

from babylon_tasks.tasks.patient_consumer import PatientConsumer

REFUSED = ReadOnlyError("You can't write against a read only replica.")


@pytest.fixture
def consumer() -> PatientConsumer:
    app = Celery(broker="redis://127.0.0.1:1/0", set_as_current=False)
    worker = app.WorkController(pool="solo", consumer_cls=PatientConsumer)
    assert isinstance(worker.consumer, PatientConsumer)
    return worker.consumer


def test_a_worker_that_is_stopped_waits_no_longer(
    consumer: PatientConsumer, monkeypatch: pytest.MonkeyPatch
) -> None:
    consumer.on_connection_error_before_connected(REFUSED)

    monkeypatch.setattr(state, "should_stop", 0)  # what the worker's signal handler does
    with pytest.raises(WorkerShutdown):
        consumer.on_connection_error_before_connected(REFUSED)
