"""The log: one format for all loggers, and no secret in any line."""

from __future__ import annotations

import io
import json
import logging
import threading
import warnings
from contextvars import copy_context
from functools import partial
from typing import Any

import pytest
import structlog
from pydantic import SecretStr
from structlog.contextvars import bind_contextvars, clear_contextvars

from babylon_tasks.errors import SettingsError
from babylon_tasks.log import Mask, configure
from babylon_tasks.settings import Settings

PLANTED = "planted%2Fsecret-9"
DECODED = "planted/secret-9"
WANDB = "wandb-key-0123456789abcdef"


def settings(**values: Any) -> Settings:
    return Settings(
        **{
            "DATABASE_URL": f"postgresql://babylon:{PLANTED}@127.0.0.1:5432/babylon",
            "REDIS_URL": "redis://:valkey-password@127.0.0.1:6379/0",
            "WANDB_API_KEY": WANDB,
            "log_format": "json",
            **values,
        }
    )


@pytest.fixture
def stream() -> io.StringIO:
    return io.StringIO()


def lines(stream: io.StringIO) -> list[dict[str, Any]]:
    return [json.loads(line) for line in stream.getvalue().splitlines()]


def test_a_line_says_what_it_is_about(stream: io.StringIO) -> None:
    configure(settings(), stream)
    bind_contextvars(window="2026-01-31T09:00", lineage="babylon", task_id="t-1")
    bind_contextvars(step=7, fencing_token=2)  # known a little later
    structlog.get_logger("babylon").info("window scored", scored=7)
    clear_contextvars()
    structlog.get_logger("babylon").info("idle")
    first, second = lines(stream)
    assert (first["event"], first["scored"], first["level"]) == ("window scored", 7, "info")
    about = {"window", "step", "lineage", "task_id", "fencing_token"}
    assert {name: first[name] for name in about} == {
        "window": "2026-01-31T09:00",
        "step": 7,
        "lineage": "babylon",
        "task_id": "t-1",
        "fencing_token": 2,
    }
    assert first["timestamp"].endswith("Z")
    assert not about & set(second)


def test_the_standard_librarys_loggers_share_format_and_context(stream: io.StringIO) -> None:
    configure(settings(), stream)
    bind_contextvars(task_id="t-1")
    logging.getLogger("celery.worker").warning("lost %s", "the broker")
    [line] = lines(stream)
    assert (line["event"], line["logger"]) == ("lost the broker", "celery.worker")
    assert (line["level"], line["task_id"]) == ("warning", "t-1")


def test_a_thread_may_carry_on_what_its_lines_are_about(stream: io.StringIO) -> None:
    configure(settings(), stream)
    bind_contextvars(attempts=2)
    say = structlog.get_logger("babylon").info
    for work in (partial(copy_context().run, partial(say, "carried")), partial(say, "not carried")):
        thread = threading.Thread(target=work)
        thread.start()
        thread.join()
    assert [line.get("attempts") for line in lines(stream)] == [2, None]


@pytest.mark.filterwarnings("always::UserWarning")
def test_a_warning_of_a_library_is_a_line_like_any_other(stream: io.StringIO) -> None:
    configure(settings(), stream)
    warnings.warn(f"old way to say {PLANTED}", UserWarning, stacklevel=1)
    [line] = lines(stream)
    assert (line["logger"], line["level"]) == ("py.warnings", "warning")
    assert "old way to say ***" in line["event"]


def test_configuring_twice_logs_once(stream: io.StringIO) -> None:
    configure(settings(), stream)
    configure(settings(), stream)
    structlog.get_logger("babylon").info("once")
    assert len(lines(stream)) == 1


def test_the_level_is_obeyed_and_a_wrong_one_refused(stream: io.StringIO) -> None:
    configure(settings(log_level="warning"), stream)
    structlog.get_logger("babylon").info("too quiet")
    assert stream.getvalue() == ""
    with pytest.raises(SettingsError, match="BABYLON_LOG_LEVEL is 'LOUD'"):
        configure(settings(log_level="LOUD"), stream)


@pytest.mark.parametrize("log_format", ["json", "console"])
def test_no_planted_secret_reaches_a_line(stream: io.StringIO, log_format: str) -> None:
    chosen = settings(log_format=log_format)
    configure(chosen, stream)
    log = structlog.get_logger("babylon")
    log.info(f"connecting to {chosen.dsn}", url=chosen.redis_url.get_secret_value())
    log.info("headers", headers={"Authorization": f"Bearer {WANDB}"}, body=[f"key={WANDB}"])
    log.info("an object", error=ValueError(f"refused {DECODED}"), settings=chosen)
    logging.getLogger("kombu").error("cannot connect to %s", "redis://:another-one@host:1/0")
    try:
        raise ConnectionError(f"no route to {chosen.dsn}")
    except ConnectionError:
        log.exception("broken", password="short", wandb_api_key="x", PGPASSWORD="libpq")
    written = stream.getvalue()
    assert "no route to" in written
    assert "Traceback" in written
    for secret in (PLANTED, DECODED, WANDB, "valkey-password", "another-one", "short", "libpq"):
        assert secret not in written


def test_figures_and_checkpoint_names_are_not_taken_for_secrets() -> None:
    event = {
        "trainable_tokens": 12,
        "token_ids": [1, 2],
        "inference": "http://127.0.0.1:8100/v1/models/babylon@12",
        "key": "scenario-1",
        "serving": "default",
        "token": None,
    }
    assert Mask(settings())(None, "info", dict(event)) == event


def test_a_key_that_names_a_secret_hides_any_value() -> None:
    event = {"password": "a", "api_key": SecretStr("b"), "nested": {"access_token": 1}, "n": 1}
    masked = Mask(settings())(None, "info", event)
    assert masked == {
        "password": "***",
        "api_key": "***",
        "nested": {"access_token": "***"},
        "n": 1,
    }
