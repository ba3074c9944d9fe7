"""How Flower shows a task, and whom it lets in."""

from __future__ import annotations

from typing import Any

import pytest
from celery.events.state import Task

from babylon_tasks.settings import Settings
from babylon_tasks.tasks import display

WINDOW = "2026-01-31T09:00"


def settings(login: str | None) -> Settings:
    return Settings(_env_file=None, DATABASE_URL="postgresql://h/b", FLOWER_BASIC_AUTH=login)


def shown(**fields: Any) -> Task:
    task = Task(uuid="u", args=f"('{WINDOW}',)", kwargs="{}", **fields)
    return display.readable(task, lambda text: text.replace("planted", "***"))


def test_a_task_shows_its_window_and_what_came_of_it() -> None:
    task = shown(result=repr("2026-01-31T09:00 · scored, it's done"))
    assert task.args == WINDOW
    assert task.result == "2026-01-31T09:00 · scored, it's done"


def test_progress_is_shown_as_it_was_sent_and_nothing_as_nothing() -> None:
    assert shown(result="2026-01-31T09:00 · training, 3 of 8").result.endswith("3 of 8")
    assert shown(result=None).result == shown(result="None").result == ""


def test_a_failed_task_shows_the_message_without_a_secret() -> None:
    task = shown(
        result="3 of 8",
        exception=repr(ValueError("it's planted; run `babylon-tasks why`")),
        traceback="Traceback\nValueError: planted",
    )
    assert task.result == "failed: it's ***; run `babylon-tasks why`"
    assert "planted" not in f"{task.exception} {task.traceback}"


def test_upkeep_has_no_window() -> None:
    task = display.readable(Task(uuid="u", args="()", kwargs="{}"), str)
    assert (task.args, task.kwargs) == ("-", "-")


def test_several_may_log_in() -> None:
    given = "one:planted-a:b,two:planted-b"
    assert display.logins(settings(given)) == given.split(",")


@pytest.mark.parametrize("login", [None, "", "planted", ":planted-password", "user:", "u:short"])
def test_without_a_usable_login_it_does_not_start(login: str | None) -> None:
    with pytest.raises(SystemExit, match="FLOWER_BASIC_AUTH") as refused:
        display.logins(settings(login))
    assert "planted" not in str(refused.value)


def test_flower_never_waits_long_for_redis() -> None:
    slept: list[float] = []
    sleep = display.bounded(slept.append)
    for pause in (2.0, 4.0, 8.0, 2048.0):
        sleep(pause)
    assert slept == [2.0, 4.0, display.RETRY_SECONDS, display.RETRY_SECONDS]
