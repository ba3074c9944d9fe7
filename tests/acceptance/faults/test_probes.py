"""Probes of real processes: ready is who could work now, live is who is not stuck.

Each server or process is stopped (SIGSTOP), so that it neither answers nor closes a connection.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager, suppress

import psutil
import pytest
from acceptance.faults.system import System
from acceptance.harness import until
from acceptance.test_metrics import ask, figure, scrape

from babylon_tasks.tasks.health.bounded_check import ANSWER_SECONDS

NAMES = ("gpu-worker", "cpu-worker", "beat")


@contextmanager
def frozen(*processes: psutil.Process) -> Iterator[None]:
    """Stopped with all their children for the length of a block."""
    family = [*processes, *(child for one in processes for child in one.children(recursive=True))]
    for process in family:
        process.suspend()
    try:
        yield
    finally:
        for process in family:
            with suppress(psutil.NoSuchProcess):
                process.resume()


@contextmanager
def read_only(system: System) -> Iterator[None]:
    """Postgres takes no writes but the administrator's, as after a failover."""
    change = "ALTER SYSTEM SET default_transaction_read_only = "
    system.connection.execute("SET default_transaction_read_only = off")
    system.connection.execute(change + "on")
    system.connection.execute("SELECT pg_reload_conf()")
    yield
    system.connection.execute(change + "off")
    system.connection.execute("SELECT pg_reload_conf()")


def ready(system: System, *names: str) -> bool:
    return all(ask(system, name, "/readyz")[0] == 200 for name in names)


def unready(system: System, name: str, why: str) -> bool:
    status, text = ask(system, name, "/readyz")
    return status == 503 and why in text


def live(system: System, *names: str) -> bool:
    return all(ask(system, name, "/livez")[0] == 200 for name in names)


@pytest.fixture
def started(kept_system: System) -> System:
    """The tests of this file follow each other on one system that they leave ready."""
    kept_system.start(*(name for name in NAMES if name not in kept_system.names()))
    until("all are ready", lambda: ready(kept_system, *NAMES))
    return kept_system


def test_workers_are_ready_while_postgres_answers_fits_and_no_circuit_is_open(
    started: System,
) -> None:
    workers = ("gpu-worker", "cpu-worker")
    with frozen(psutil.Process(started.postgres.pid)):
        for name in workers:
            until(f"{name} notices", lambda name=name: unready(started, name, "Postgres"))
        assert live(started, *NAMES)
        assert ready(started, "beat"), "it needs Postgres for its metrics only"
    until("they are ready again", lambda: ready(started, *NAMES))

    with read_only(started):
        for name in workers:
            until(f"{name} notices", lambda name=name: unready(started, name, "no writes"))
        assert live(started, *NAMES)
    until("it takes writes again", lambda: ready(started, *NAMES))

    (newest,) = started.rows("SELECT max(name) AS name FROM training.migrations")
    started.connection.execute(
        "UPDATE training.migrations SET name = 'x' || name WHERE name = %(name)s", newest
    )
    for name in workers:
        until(f"{name} misses it", lambda name=name: unready(started, name, newest["name"]))
    started.connection.execute(
        "UPDATE training.migrations SET name = %(name)s WHERE name = 'x' || %(name)s", newest
    )
    until("the schema fits again", lambda: ready(started, *NAMES))

    for name, other, circuit in (
        ("cpu-worker", "gpu-worker", "scoring"),
        ("gpu-worker", "cpu-worker", f"training {started.lineage}"),
    ):
        started.connection.execute(
            "INSERT INTO training.circuits (name, fault, faults, reason, opened_at, next_try_at)"
            " VALUES (%s, 'disk_full', 3, 'no space left', now(), now() + interval '1 hour')",
            [circuit],
        )
        until(f"{name} pauses", lambda name=name: unready(started, name, "no space left"))
        assert ready(started, other)
        started.connection.execute("DELETE FROM training.circuits")
        until(f"{name} goes on", lambda name=name: ready(started, name))
    assert live(started, *NAMES)


def test_none_is_ready_while_redis_is_stopped_and_none_is_ended_for_it(started: System) -> None:
    with frozen(psutil.Process(started.valkey.pid)):
        for name in NAMES:
            until(f"{name} notices", lambda name=name: unready(started, name, "Redis"))
        assert live(started, *NAMES)
    until("all are ready again", lambda: ready(started, *NAMES))
    assert live(started, *NAMES)


@pytest.mark.faults
def test_a_trainer_that_does_not_answer_is_not_ready_and_is_replaced(system: System) -> None:
    system.stack._environment["BABYLON_TRAINER_SILENCE_TIMEOUT_SECONDS"] = "10"
    system.start(*NAMES)
    until("all are ready", lambda: ready(system, *NAMES))
    trainer = until("a trainer lives", system.trainer)

    with frozen(trainer):
        until("it is missed", lambda: unready(system, "gpu-worker", "the trainer"))
        assert live(system, *NAMES), "the worker is not stuck"
        assert ready(system, "cpu-worker", "beat")
        until("another one serves", lambda: ready(system, "gpu-worker"))
    assert figure(scrape(system, "gpu-worker"), "babylon_trainer_starts_total") == 2


def test_a_worker_without_its_trainer_is_not_ready_though_its_connections_are_half_open(
    started: System,
) -> None:
    trainer = until("a trainer lives", started.trainer)
    started.postgres_proxy.half_open()

    trainer.kill()

    # "does not run", or of its inference "does not answer", as long as the child has not noticed.
    until("it is missed", lambda: unready(started, "gpu-worker", "the trainer"))
    until("another one serves", lambda: ready(started, *NAMES))
    assert started.trainer() != trainer
    assert live(started, *NAMES)


def test_a_trainer_that_lacks_the_checkpoint_that_serves_is_not_ready_until_another_serves(
    system: System,
) -> None:
    system.start("gpu-worker")  # alone: nothing is trained, and no message comes
    until("it is ready", lambda: ready(system, "gpu-worker"))
    system.connection.execute(
        "INSERT INTO training.checkpoints (lineage, step, uri, inference_name)"
        " VALUES (%(lineage)s, 1, '/none', %(lineage)s || '@1')",
        {"lineage": system.lineage},
    )
    with system.locked("promotions"):  # it cannot be rolled back yet
        system.connection.execute("UPDATE training.lineages SET serving_step = 1")
        name = f"{system.lineage}@1"
        until("it is missed", lambda: unready(system, "gpu-worker", f"cannot serve {name}"))
        assert live(system, "gpu-worker")

    until("another one serves", lambda: ready(system, "gpu-worker"))
    until("why is said", lambda: "cannot be loaded" in ask(system, "gpu-worker", "/readyz")[1])
    assert system.policy() == f"{system.lineage}@0"


@pytest.mark.faults
def test_a_pool_child_that_is_stopped_makes_its_worker_unready_then_stuck(system: System) -> None:
    system.start("cpu-worker")
    until("it is ready", lambda: ready(system, "cpu-worker"))
    child = system.pool_child("cpu-worker")
    with frozen(child):
        why = f"pool child {child.pid} has not run"
        until("it is missed", lambda: unready(system, "cpu-worker", why))
        assert live(system, "cpu-worker"), "it may go on by itself"
        until("it is stuck", lambda: why in ask(system, "cpu-worker", "/livez")[1])
        assert not live(system, "cpu-worker")
    until("it goes on", lambda: ready(system, "cpu-worker") and live(system, "cpu-worker"))


def test_a_probe_is_answered_within_its_bound_whatever_is_stopped(started: System) -> None:
    servers = (started.postgres.pid, started.valkey.pid, started.trainer().pid)  # type: ignore[union-attr]
    with frozen(*map(psutil.Process, servers)):
        for name in NAMES:
            until(f"{name} notices", lambda name=name: not ready(started, name))
            status, text = ask(started, name, "/readyz")
            assert status == 503, "an answer, not the client's own timeout"
            assert f"for {ANSWER_SECONDS:.0f} s" in text or "Redis" in text
