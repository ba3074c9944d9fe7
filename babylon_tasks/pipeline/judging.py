"""Have what was said in a window graded by a judge: kept aside while it is read, then asked about.

A question whose answers cannot be had or believed fails its whole group, whose rewards the scorer
``default`` then makes: a judge's grades and rewards of another kind cannot be compared.
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterator, Mapping, Sequence
from statistics import fmean
from tempfile import SpooledTemporaryFile

import msgspec
from msgspec import Struct, field

from babylon_tasks import metrics
from babylon_tasks.dataset.groups import rank
from babylon_tasks.records import Trajectory
from babylon_tasks.scoring.ruler import (
    ALIKE,
    Believed,
    Conversation,
    Failure,
    Grades,
    Question,
    believed,
    conversation,
    identity,
    questions,
)
from babylon_tasks.settings import Settings
from babylon_tasks.training.judge import Judge
from babylon_tasks.training.ruler import Answer, Ask

_IN_MEMORY = 8_000_000  # bytes
_UNANSWERED = ("no_answer", "timeout", "died")
_TRIES = 6  # that many questions unanswered in a row: no more are put for this window


class Judgement(Struct):
    """What judging a window cost and came to; ``usd`` is None where litellm knows no price.

    ``failures`` counts groups by reason; ``details`` has an example of each. ``agreement`` is the
    mean over questions of how far both answers agreed, in rank.
    """

    model: str
    groups: int = 0
    answers: int = 0
    prompt_tokens: int = 0
    completion_tokens: int = 0
    usd: float | None = None
    agreement: float | None = None
    failures: dict[str, int] = field(default_factory=dict)
    details: dict[str, str] = field(default_factory=dict)


class Judging:
    """A window's conversations, each different one once, and what a judge says of them."""

    def __init__(self, settings: Settings) -> None:
        self._settings = settings
        self._texts = SpooledTemporaryFile(max_size=_IN_MEMORY)  # noqa: SIM115  closed by __exit__
        self._places: dict[bytes, tuple[int, int]] = {}
        self._said: dict[int, bytes] = {}
        self._ranks: dict[int, bytes] = {}
        self._known: dict[int, float] = {}
        self._unanswered = 0
        self.judgement = Judgement(settings.ruler_model or "")

    def close(self) -> None:
        """Forget what was said."""
        self._texts.close()

    def hear(self, number: int, trajectory: Trajectory, known: float | None) -> None:
        """Keep what was said in the trajectory of this ``number``; ``known``: its grade, if any."""
        said = conversation(trajectory)
        which = identity(said)
        self._said[number] = which
        self._ranks[number] = rank(trajectory.trajectory_id)
        if known is not None:
            self._known[number] = known
        if which not in self._places:
            text = msgspec.json.encode(said)
            self._places[which] = (self._texts.seek(0, 2), len(text))
            self._texts.write(text)

    def grade(
        self, groups: Mapping[str, Sequence[int]], tick: Callable[[], None]
    ) -> dict[str, list[float] | Failure]:
        """The grade of each member of each group, in the order given; raises NotInstalled.

        ``tick`` is called about every second while it waits for the judge.
        """
        graded: dict[str, list[float] | Failure] = {}
        asked: dict[str, tuple[Question, ...]] = {}
        for key, members in groups.items():
            if all(number in self._known for number in members):
                graded[key] = [self._known[number] for number in members]
                continue
            # As training chooses them, so that those who are trained together were shown together.
            ranked = sorted(members, key=self._ranks.__getitem__)
            several = questions(map(self._said.__getitem__, ranked), self._settings.ruler_call_size)
            if several:
                asked[key] = several
            else:
                graded[key] = [ALIKE] * len(members)
        self.judgement.groups = len(groups)
        found = self._found(
            dict.fromkeys(one for several in asked.values() for one in several), tick
        )
        for key, several in asked.items():
            grades: dict[bytes, float] = {}
            for question in several:
                answer = found[question]
                if isinstance(answer, Failure):
                    graded[key] = answer
                    self._note(answer)
                    break
                grades |= answer.grades
            else:
                graded[key] = [grades[self._said[number]] for number in groups[key]]
        return graded

    def _found(
        self, several: Collection[Question], tick: Callable[[], None]
    ) -> dict[Question, Believed | Failure]:
        if not several:
            return {}
        asks = sorted(several, key=lambda question: question.shown)
        answers: dict[int, Answer] = {}
        with Judge(self._settings, tick=tick) as judge:
            for answer in judge.answers(self._asks(asks)):
                answers[answer.number] = answer
                self._count(answer)
        found = {
            question: self._believed(question, answers.get(2 * number), answers.get(2 * number + 1))
            for number, question in enumerate(asks)
        }
        agreements = [one.agreement for one in found.values() if isinstance(one, Believed)]
        self.judgement.agreement = fmean(agreements) if agreements else None
        return found

    def _asks(self, several: Sequence[Question]) -> Iterator[Ask]:
        """Each question and then the same again, until it is plain that nobody answers."""
        for number, question in enumerate(several):
            for second, asking in enumerate((question, question.again())):
                if self._unanswered >= _TRIES:
                    return
                yield Ask(2 * number + second, tuple(map(self._text, asking.shown)))

    def _believed(
        self, question: Question, first: Answer | None, second: Answer | None
    ) -> Believed | Failure:
        if first is None or second is None:
            return Failure("given_up", f"{_TRIES} questions in a row went unanswered")
        for answer in (first, second):
            if answer.fault is not None:
                return Failure(answer.fault, answer.detail)
        return believed(
            question, _grades(first), _grades(second), self._settings.ruler_min_agreement
        )

    def _count(self, answer: Answer) -> None:
        self._unanswered = self._unanswered + 1 if answer.fault in _UNANSWERED else 0
        judgement = self.judgement
        judgement.answers += 1
        judgement.prompt_tokens += answer.prompt_tokens
        judgement.completion_tokens += answer.completion_tokens
        metrics.RULER_ANSWERS.labels(answer.fault or "answered").inc()
        metrics.RULER_TOKENS.labels("prompt").inc(answer.prompt_tokens)
        metrics.RULER_TOKENS.labels("completion").inc(answer.completion_tokens)
        if answer.usd is not None:
            judgement.usd = (judgement.usd or 0.0) + answer.usd
            metrics.RULER_COST.labels("usd").inc(answer.usd)

    def _note(self, failure: Failure) -> None:
        failures, reason = self.judgement.failures, failure.reason
        failures[reason] = failures.get(reason, 0) + 1
        self.judgement.details.setdefault(reason, failure.detail)
        metrics.RULER_FALLBACKS.labels(reason).inc()

    def _text(self, which: bytes) -> Conversation:
        start, length = self._places[which]
        self._texts.seek(start)
        return msgspec.json.decode(self._texts.read(length), type=Conversation)


def _grades(answer: Answer) -> Grades:
    return [(grade.name, grade.score) for grade in answer.grades]
