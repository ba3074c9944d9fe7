"""One question of a probe that may never be answered, asked in a thread of its own."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable

import structlog

# Less than the timeouts of the probes in Dockerfile, Compose and k8s/: checks/drift compares them.
ANSWER_SECONDS = 3.0
FRESH_SECONDS = 1.0
log = structlog.get_logger(__name__)


class Run:
    """One asking. ``waits_for`` is what it asks now, for the text if no answer comes."""

    def __init__(self, waits_for: str) -> None:
        self.waits_for = waits_for
        self.begun = time.monotonic()
        self.ended: float | None = None
        self.why: str | None = None
        self.done = threading.Event()


class BoundedCheck:
    """``ask`` returns what is wrong, or None; ``answer`` never takes longer than ``seconds``.

    However many probes ask at once, one thread at most waits for an answer: they share it, and for
    FRESH_SECONDS the next ones do too. What takes too long is wrong until it has been answered.
    """

    def __init__(
        self, name: str, ask: Callable[[Run], str | None], seconds: float = ANSWER_SECONDS
    ) -> None:
        self._name = name
        self._ask = ask
        self._seconds = seconds
        self._lock = threading.Lock()
        self._run: Run | None = None

    def begin(self) -> Run:
        """Ask, unless a thread does already or the last answer is fresh; does not wait."""
        with self._lock:
            run = self._run
            if run is None or (
                run.ended is not None and time.monotonic() - run.ended > FRESH_SECONDS
            ):
                run = self._run = Run(self._name)
                threading.Thread(
                    target=self._work, args=(run,), name=f"check of {self._name}", daemon=True
                ).start()
            return run

    def answer(self) -> str | None:
        """Return what is wrong, or None; waits for it at most ``seconds`` from when it was asked.

        So that several take no longer than one, ``begin`` them all first.
        """
        run = self.begin()
        if run.done.wait(max(0.0, run.begun + self._seconds - time.monotonic())):
            return run.why
        waited = time.monotonic() - run.begun
        return f"{run.waits_for} has not answered for {waited:.0f} s"

    def _work(self, run: Run) -> None:
        try:
            run.why = self._ask(run)
        except Exception as error:  # whatever it is, the process is not known to be ready
            log.exception("check.failed", check=self._name)
            run.why = f"{self._name} could not be checked: {type(error).__name__}"
        run.ended = time.monotonic()
        run.done.set()
