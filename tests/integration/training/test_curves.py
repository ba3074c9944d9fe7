"""Curves at W&B, by W&B's own client in a process of its own; nothing waits for it."""

from __future__ import annotations

import os
import socket
from collections.abc import Iterator
from contextlib import ExitStack
from pathlib import Path

import pytest
from descendants import descendants
from endpoint import until

from babylon_tasks.training import curves
from babylon_tasks.training.curves import Curves
from babylon_tasks.training.curves_process import StartCurves
from babylon_tasks.training.protocol import LoggedStep

KEY = "0123456789abcdef" * 2 + "01234567"
MODULE = "babylon_tasks.training.curves_process"
STEP = LoggedStep(1, {"loss/train": 0.25, "offpolicy/mismatch_kl": 0.5})


class Drawing:
    """Curves of a lineage, with the log that they report to."""

    def __init__(self, folder: Path, key: str = KEY) -> None:
        self.folder = folder / "wandb"
        self.path = folder / "trainer.log"
        start = StartCurves("tests", "project", None, "base", str(self.folder), key)
        # As a trainer's stderr, the log stays open: the thread writes to it after a pause, too,
        # and ten minutes later that failed whichever test then ran.
        self.curves = Curves(start, self.path.open("ab"))

    @property
    def log(self) -> str:
        return self.path.read_text("utf-8", "replace")

    def end(self) -> None:
        for process in descendants(os.getpid(), MODULE):
            process.kill()


@pytest.fixture
def drawing(tmp_path: Path) -> Iterator[Drawing]:
    with ExitStack() as stack:
        made = Drawing(tmp_path)
        stack.callback(made.end)
        yield made


def test_a_step_reaches_wandbs_client_with_its_figures_and_nothing_else(
    drawing: Drawing, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("WANDB_MODE", "offline")

    drawing.curves.draw(STEP)
    until(lambda: any(b"offpolicy/mismatch_kl" in path.read_bytes() for path in kept(drawing)))

    written = b"".join(path.read_bytes() for path in drawing.folder.rglob("*") if path.is_file())
    assert b"training_step" in written
    assert KEY.encode() not in written
    assert "has no curve" not in drawing.log


def test_a_service_that_does_not_answer_is_given_up_and_its_client_ended(
    drawing: Drawing, monkeypatch: pytest.MonkeyPatch
) -> None:
    with socket.create_server(("127.0.0.1", 0)) as silent:
        monkeypatch.setenv("WANDB_BASE_URL", f"http://127.0.0.1:{silent.getsockname()[1]}")
        monkeypatch.setattr(curves, "PATIENCE_SECONDS", 5.0)

        drawing.curves.draw(STEP)  # returns at once
        drawing.curves.draw(LoggedStep(2, {}))
        until(lambda: "step 1 has no curve at W&B" in drawing.log)

    assert "has not answered for 5 s" in drawing.log
    assert not drawing.folder.exists(), "its files are temporary"
    until(lambda: not descendants(os.getpid(), MODULE))


def test_a_key_that_is_none_is_a_line_of_the_log(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("WANDB_BASE_URL", "http://127.0.0.1:1")
    drawing = Drawing(tmp_path, key="word-of-wandb")
    try:
        drawing.curves.draw(STEP)
        until(lambda: "step 1 has no curve at W&B" in drawing.log)
    finally:
        drawing.end()

    assert "word-of-wandb" not in drawing.log


def kept(drawing: Drawing) -> list[Path]:
    """The files in which W&B's client keeps what it has not sent."""
    return list(drawing.folder.rglob("*.wandb"))
