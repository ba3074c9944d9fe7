"""The table of processes: what each consumes, where it listens, and that no argument is secret."""

from __future__ import annotations

from collections import Counter
from pathlib import Path
from typing import Any

import pytest
from celery import Celery
from celery.beat import PersistentScheduler, Scheduler
from celery.bin.base import CLIContext
from celery.bin.celery import celery
from kombu.utils.imports import symbol_by_name

from babylon_tasks.processes import APP, PROCESSES, ProcessName, command, prepare
from babylon_tasks.settings import Settings
from babylon_tasks.tasks.app import queues


def settings(**values: Any) -> Settings:
    return Settings(
        **{
            "DATABASE_URL": "postgresql://u:planted-secret@h/b",
            "REDIS_URL": "redis://:planted-secret@h:6379/0",
            "WANDB_API_KEY": "planted-secret",
            "inference_api_key": "planted-secret-of-agents",
            **values,
        }
    )


def understood(name: str, chosen: Settings) -> dict[str, Any]:
    """What Celery's own parser makes of a process's arguments."""
    _, module, program, quiet, *rest = command(ProcessName(name), chosen)
    assert (module, program, quiet) == ("-m", "celery", "--quiet")
    assert rest[:2] == ["-A", APP]
    kind, *arguments = rest[2:]
    app = Celery("nobody's", set_as_current=False)
    context = CLIContext(app, no_color=True, workdir=None, quiet=True)
    parsed: dict[str, Any] = celery.commands[kind].make_context(kind, arguments, obj=context).params
    return parsed


def test_each_queue_is_consumed_by_one_kind_of_worker() -> None:
    consumed = Counter(
        queue
        for name in PROCESSES
        if name.endswith("-worker")
        for queue in understood(name, settings())["queues"]
    )
    assert consumed == Counter(queues(settings()))


def test_only_the_cpu_worker_does_several_tasks_at_once() -> None:
    chosen = settings(cpu_concurrency=5)
    assert understood("cpu-worker", chosen)["concurrency"] == 5
    assert understood("gpu-worker", chosen)["concurrency"] == 1


def test_beat_writes_no_file() -> None:
    parsed = understood("beat", settings())
    assert parsed["pidfile"] is None
    scheduler = symbol_by_name(parsed["scheduler"])
    assert issubclass(scheduler, Scheduler)
    assert not issubclass(scheduler, PersistentScheduler)  # Celery's default


def test_flower_listens_where_the_settings_say() -> None:
    arguments = command(ProcessName.FLOWER, settings(flower_host="10.0.0.7", flower_port=5556))
    assert {"--address=10.0.0.7", "--port=5556"} <= set(arguments)


@pytest.mark.parametrize("name", PROCESSES)
def test_no_secret_is_an_argument(name: ProcessName) -> None:
    assert "planted" not in " ".join(command(name, settings()))


def test_only_flower_is_given_its_login() -> None:
    chosen = settings(FLOWER_BASIC_AUTH="someone:planted-secret")
    logins = {name: prepare(name, chosen).get("FLOWER_BASIC_AUTH") for name in PROCESSES}
    assert logins.pop(ProcessName.FLOWER) == "someone:planted-secret"
    assert set(logins.values()) == {None}


def test_flower_and_nobody_else_is_given_no_way_to_postgres() -> None:
    given = {name: prepare(name, settings()).get("DATABASE_URL") for name in PROCESSES}
    leads_nowhere = given.pop(ProcessName.FLOWER)
    assert "planted" not in str(leads_nowhere)
    assert settings(DATABASE_URL=leads_nowhere), "Flower's settings can be read with it"
    assert set(given.values()) == {None}


def test_a_worker_that_is_watched_gets_a_folder_where_its_children_count() -> None:
    watched = {name: prepare(name, settings(metrics_port=9464)) for name in PROCESSES}
    folders = {name: found.get("PROMETHEUS_MULTIPROC_DIR") for name, found in watched.items()}
    assert folders["beat"] is folders["flower"] is folders["gateway"] is None
    for name in ("cpu-worker", "gpu-worker"):
        folder = Path(str(folders[ProcessName(name)]))
        assert not list(folder.iterdir()), "nothing of a process before it"
        folder.rmdir()
    assert "PROMETHEUS_MULTIPROC_DIR" not in prepare(ProcessName.CPU_WORKER, settings())


def test_flower_is_given_our_configuration() -> None:
    (option,) = [word for word in command(ProcessName.FLOWER, settings()) if "--conf=" in word]
    assert "basic_auth" in Path(option.removeprefix("--conf=")).read_text("utf-8")


def test_a_silent_name_server_is_not_waited_for_longer_than_a_connection(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.delenv("RES_OPTIONS", raising=False)
    assert {prepare(name, settings())["RES_OPTIONS"] for name in PROCESSES} == {
        "timeout:2 attempts:2"
    }
    monkeypatch.setenv("RES_OPTIONS", "timeout:7")
    assert not any("RES_OPTIONS" in prepare(name, settings()) for name in PROCESSES)
