"""The worker's side of the judge: start its process, send questions, collect answers, stop it."""

from __future__ import annotations

import queue
import tempfile
import time
from collections.abc import Callable, Iterable, Iterator
from importlib.util import find_spec
from types import TracebackType
from typing import IO

import msgspec

from babylon_tasks.errors import NotInstalled
from babylon_tasks.mask_secrets import MASK
from babylon_tasks.reasons import JudgeFailure
from babylon_tasks.settings import Settings
from babylon_tasks.training.child import Child, tail
from babylon_tasks.training.judge_process import GradeReply, GradeRequest, JudgeReady, StartJudge

_START_SECONDS = 180.0  # to import ART, on a slow disk
_SLACK_SECONDS = 30.0  # beyond the timeout, before a silent process counts as dead
_TICK_SECONDS = 1.0

JudgeReply = JudgeReady | GradeReply


def require() -> None:
    """Raise NotInstalled where a judge's process could not start."""
    missing = [name for name in ("art", "litellm") if find_spec(name) is None]
    if missing:
        raise NotInstalled(
            f"the scorer ruler needs {' and '.join(missing)} where windows are scored; install "
            "babylon-tasks[train] there, or choose another BABYLON_SCORER"
        )


class Judge:
    """A judge's process, run as a context manager. Raises NotInstalled where ART is missing.

    A process that dies or stops answering raises nothing: its open questions are answered with the
    failure ``died``, since there is a fallback (the scorer ``default``).
    """

    def __init__(self, settings: Settings, *, tick: Callable[[], None]) -> None:
        require()
        key = settings.ruler_api_key
        self._start = StartJudge(
            model=settings.ruler_model or "",
            base_url=settings.ruler_base_url,
            api_key=None if key is None else key.get_secret_value(),
            rubric=settings.ruler_rubric,
            timeout=settings.ruler_timeout_seconds,
            concurrency=settings.ruler_concurrency,
        )
        self._tick = tick
        self._patience = _START_SECONDS
        self._death: str | None = None

    def __enter__(self) -> Judge:
        self._log: IO[bytes] = tempfile.TemporaryFile()
        self._child: Child[JudgeReply] = Child(
            "babylon_tasks.training.judge_process", msgspec.json.Decoder(JudgeReply), self._log
        )
        self._child.send(self._start)
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self._child.end_group()
        self._child.end()
        self._log.close()

    @property
    def pid(self) -> int:
        """The process's id."""
        return self._child.pid

    def answers(self, questions: Iterable[GradeRequest]) -> Iterator[GradeReply]:
        """Yield one reply for each question, in any order; takes the next one as slots free up.

        ``tick`` is called about every second while it waits.
        """
        unanswered: dict[int, GradeRequest] = {}
        more = iter(questions)
        while True:
            while len(unanswered) < 2 * self._start.concurrency and (question := next(more, None)):
                unanswered[question.number] = question
                if self._death is None:
                    self._child.send(question)  # whether it ended is seen from its replies
            if not unanswered:
                return
            answer = self._next()
            if answer is None:
                yield from (
                    GradeReply(number=number, failure=JudgeFailure.DIED, detail=self._death or "")
                    for number in unanswered
                )
                unanswered.clear()
            else:
                del unanswered[answer.number]
                yield answer

    def _next(self) -> GradeReply | None:
        """Wait for the next answer; None once the process has ended."""
        deadline = time.monotonic() + self._patience
        while self._death is None:
            try:
                reply = self._child.replies.get(timeout=_TICK_SECONDS)
            except queue.Empty:
                self._tick()
                if time.monotonic() > deadline:
                    self._child.end_group()
                    self._death = f"the judge's process was silent for {self._patience:.0f} s"
                continue
            if reply is None:
                self._death = f"the judge's process {self._child.how_ended()}: {self._last_line()}"
            elif isinstance(reply, JudgeReady):
                self._patience = self._start.timeout + _SLACK_SECONDS
                deadline = time.monotonic() + self._patience
            else:
                return reply
        return None

    def _last_line(self) -> str:
        lines = tail(self._log)
        text = lines[-1] if lines else "it wrote nothing"
        return text.replace(self._start.api_key, MASK) if self._start.api_key else text
