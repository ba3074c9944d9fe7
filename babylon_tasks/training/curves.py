"""The trainer's side of the curves at W&B: a step's figures are passed on, and nothing waits.

W&B's client asks the network when it starts, and may wait for minutes. So it runs in a process of
its own (``curves_process.py``), and a thread waits for that one. What fails is written to the
trainer's log; the figures are in Postgres and in ``history.jsonl`` all the same.
"""

from __future__ import annotations

import queue
import subprocess
import threading
import time
from contextlib import suppress
from typing import IO

import msgspec

from babylon_tasks.training.child import Child
from babylon_tasks.training.curves_process import Drawn, StartCurves
from babylon_tasks.training.protocol import LoggedStep

PATIENCE_SECONDS = 120.0  # for a step; W&B's client itself gives up its start after 90
PAUSE_SECONDS = 600.0  # after a failure; steps meanwhile have no curve
_MOST_QUEUED = 1000


class Curves:
    """Passes steps on to W&B; its process, and what it has to report, write to ``log``."""

    def __init__(self, start: StartCurves, log: IO[bytes]) -> None:
        self._start = start
        self._log = log
        self._steps: queue.Queue[LoggedStep] = queue.Queue(_MOST_QUEUED)
        self._thread: threading.Thread | None = None

    def draw(self, one: LoggedStep) -> None:
        """Pass a step on, and return at once; a step too many is left out."""
        if self._thread is None:
            self._thread = threading.Thread(target=self._draw_all, name="curves", daemon=True)
            self._thread.start()
        try:
            self._steps.put_nowait(one)
        except queue.Full:
            self._report(one, "too many steps wait for W&B")

    def _draw_all(self) -> None:
        child: Child[Drawn] | None = None
        while True:
            one = self._steps.get()
            try:
                child = child or self._started()
                failed = self._failed(child, one)
            except OSError as error:  # the disk is full, no process can be started
                failed = str(error)
            if failed is not None:
                self._report(one, failed)
                if child is not None:
                    child.end()
                    child = None
                time.sleep(PAUSE_SECONDS)
                self._leave_out()

    def _started(self) -> Child[Drawn]:
        child = Child(
            "babylon_tasks.training.curves_process", msgspec.json.Decoder(Drawn), self._log
        )
        child.send(self._start)
        return child

    def _failed(self, child: Child[Drawn], one: LoggedStep) -> str | None:
        if child.send(one):
            try:
                drawn = child.replies.get(timeout=PATIENCE_SECONDS)
            except queue.Empty:
                return f"W&B's client has not answered for {PATIENCE_SECONDS:.0f} s"
            if drawn is not None:
                return drawn.error
        with suppress(subprocess.TimeoutExpired):
            return f"W&B's client {child.how_ended(timeout=10)}"
        return "W&B's client has closed its output"

    def _leave_out(self) -> None:
        while not self._steps.empty():
            self._report(self._steps.get(), "W&B's client is given a pause after its failure")

    def _report(self, one: LoggedStep, why: str) -> None:
        self._log.write(f"step {one.step} has no curve at W&B: {why}\n".encode())
        self._log.flush()
