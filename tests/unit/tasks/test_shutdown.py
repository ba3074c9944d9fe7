"""How a pool process is made ready to be stopped; whole processes are stopped in acceptance."""

from __future__ import annotations

import signal
from collections.abc import Iterator

import pytest
from billiard import pool
from celery.signals import worker_process_init

from babylon_tasks.tasks import shutdown  # noqa: F401  # connects its signals


@pytest.fixture
def pool_process(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """This process, as a pool's child is right after its fork."""
    before = signal.getsignal(signal.SIGTERM)
    # Raises where a new billiard has no such constant: then look again at how its children end.
    monkeypatch.setattr(pool, "GUARANTEE_MESSAGE_CONSUMPTION_RETRY_LIMIT", 300)
    worker_process_init.send(sender=None)
    yield
    signal.signal(signal.SIGTERM, before)


@pytest.mark.usefixtures("pool_process")
def test_sigterm_is_raised_in_the_running_task_once() -> None:
    with pytest.raises(SystemExit, match="SIGTERM"):
        signal.raise_signal(signal.SIGTERM)
    signal.raise_signal(signal.SIGTERM)  # while things are put in order: ignored


@pytest.mark.usefixtures("pool_process")
def test_an_ending_child_does_not_wait_half_a_minute_for_its_parent() -> None:
    assert pool.GUARANTEE_MESSAGE_CONSUMPTION_RETRY_LIMIT == 20
