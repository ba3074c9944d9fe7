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
from structlog.contextvars import bind_contextvars, clear_contextvars

from babylon_tasks.errors import SettingsError
from babylon_tasks.log import configure, name_misspelt
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


def test_an_event_of_the_data_cannot_write_lines_or_colours_of_its_own(
    stream: io.StringIO,
) -> None:
    configure(settings(log_format="console"), stream)
    hostile = "ok\x1b[2J\x1b]0;title\x07\u202egnp.exe\nFORGED level=info"
    structlog.get_logger("babylon").info(hostile, reason=hostile, **{hostile: 1})
    logging.getLogger("kombu").error("lost %s", hostile)
    assert not {"\x1b", "\x07", "\u202e"} & set(stream.getvalue())
    assert not any(line.startswith("FORGED") for line in stream.getvalue().splitlines())


def test_a_traceback_keeps_its_lines_and_nothing_else_that_acts(stream: io.StringIO) -> None:
    configure(settings(log_format="console"), stream)
    try:
        raise ValueError("in the\x1b[31m data")
    except ValueError:
        structlog.get_logger("babylon").exception("task.failed")
    assert 'raise ValueError("in the' in stream.getvalue()
    assert "ValueError: in the\\u001b[31m data" in stream.getvalue()
    assert "\x1b" not in stream.getvalue()


def test_a_line_of_json_is_the_same_document_without_a_control_character(
    stream: io.StringIO,
) -> None:
    configure(settings(), stream)
    structlog.get_logger("babylon").info("a", text="\x7f\x9b31m\u202e𐌀")
    assert stream.getvalue().strip().isprintable()
    assert lines(stream)[0]["text"] == "\x7f\x9b31m\u202e𐌀"


def test_a_misspelt_setting_is_a_line_of_the_log(
    stream: io.StringIO, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("BABYLON_LINAGE", "planted")
    configure(settings(), stream)
    name_misspelt()
    [line] = lines(stream)
    assert (line["event"], line["level"]) == ("setting.ignored", "warning")
    assert "BABYLON_LINAGE" in line["what"]
    assert "did you mean BABYLON_LINEAGE?" in line["what"]
