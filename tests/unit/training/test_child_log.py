"""The log of a child process is bounded, whoever writes and whatever fails again and again."""

from __future__ import annotations

import errno
import shutil
from pathlib import Path

import pytest

from babylon_tasks.training import child_log
from babylon_tasks.training.child_log import Tracebacks, bound_log


@pytest.fixture
def log(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setattr(child_log, "LOG_BYTES", 10)
    return tmp_path / "trainer.log"


def older(log: Path) -> Path:
    return log.with_name("trainer.log.1")


def test_a_log_that_is_small_or_not_there_stays_as_it_is(log: Path) -> None:
    bound_log(log)
    log.write_bytes(b"123456789")
    bound_log(log)

    assert log.read_bytes() == b"123456789"
    assert not older(log).exists()


def test_who_writes_to_it_meanwhile_goes_on_at_its_beginning(log: Path) -> None:
    with log.open("ab", buffering=0) as child:
        for text in (b"what was before", b"what came then", b"now"):
            child.write(text)
            bound_log(log)

    assert log.read_bytes() == b"now"
    assert older(log).read_bytes() == b"what came then"


@pytest.mark.parametrize("why", [errno.ENOSPC, errno.EACCES])
def test_nothing_is_cut_that_cannot_be_copied(
    log: Path, monkeypatch: pytest.MonkeyPatch, why: int
) -> None:
    def fail(*_: object) -> None:
        raise OSError(why, "why")

    monkeypatch.setattr(shutil, "copyfile", fail)
    log.write_bytes(b"0123456789")

    if why == errno.ENOSPC:
        bound_log(log)
    else:
        with pytest.raises(OSError, match="why"):
            bound_log(log)

    assert log.read_bytes() == b"0123456789"


def test_one_kind_of_error_has_one_traceback_in_a_row(
    capsys: pytest.CaptureFixture[str],
) -> None:
    def fail(error: Exception) -> None:
        raise error

    def printed(*errors: Exception | None) -> int:
        tracebacks = Tracebacks()
        for error in errors:
            if error is None:
                tracebacks.end_row()
                continue
            try:
                fail(error)
            except Exception as raised:  # noqa: BLE001
                tracebacks.print(raised)
        return capsys.readouterr().err.count("Traceback")

    assert printed(ValueError("1"), ValueError("2"), ValueError("3")) == 1
    assert printed(ValueError("1"), KeyError("1"), ValueError("1")) == 3
    assert printed(ValueError("1"), None, ValueError("1")) == 2


def test_errors_of_other_places_are_of_another_kind(capsys: pytest.CaptureFixture[str]) -> None:
    tracebacks = Tracebacks()
    for text in ("x", "y"):
        try:
            int(text)
        except ValueError as error:
            tracebacks.print(error)
        try:
            float(text)
        except ValueError as error:
            tracebacks.print(error)

    assert capsys.readouterr().err.count("Traceback") == 4
