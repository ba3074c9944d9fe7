"""Let a judge grade a window's conversations: store them while rows are read, then ask.

Where a question gets no usable answer, none of the conversations in it has a grade.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence, Set
from statistics import fmean
from tempfile import SpooledTemporaryFile

import msgspec
from msgspec import Struct, field

from babylon_tasks import metrics
from babylon_tasks.dataset.groups import rank
from babylon_tasks.dataset.schedule import text_tokens
from babylon_tasks.reasons import JudgeFailure
from babylon_tasks.records import Trajectory
from babylon_tasks.scoring.ruler import (
    ALIKE,
    AgreedGrades,
    Conversation,
    Failure,
    Grades,
    Question,
    combine_grades,
    conversation,
    identity,
    questions,
)
from babylon_tasks.settings import Settings
from babylon_tasks.training.judge import Judge
from babylon_tasks.training.judge_process import GradeReply, GradeRequest

_IN_MEMORY = 8_000_000  # bytes
_UNANSWERED = (JudgeFailure.NO_ANSWER, JudgeFailure.TIMEOUT, JudgeFailure.DIED)
_TRIES = 6  # after so many unanswered questions in a row the rest of the window is not asked about


class JudgeReport(Struct):
    """Costs and results of judging a window; ``usd`` is None where litellm knows no price.

    ``uncounted`` answers have neither tokens nor price that could be believed.
    ``failures`` counts trajectories without a grade by reason; ``details`` has an example of each.
    ``agreement`` is the mean over questions of how far both answers agreed, in rank.
    """

    model: str
    trajectories: int = 0
    questions: int = 0
    answers: int = 0
    prompt_tokens: int = 0
    completion_tokens: int = 0
    uncounted: int = 0
    usd: float | None = None
    agreement: float | None = None
    failures: dict[str, int] = field(default_factory=dict)
    details: dict[str, str] = field(default_factory=dict)


class JudgeSession:
    """A window's distinct conversations and the judge's grades of them."""

    def __init__(self, settings: Settings) -> None:
        self._settings = settings
        self._texts = SpooledTemporaryFile(max_size=_IN_MEMORY)  # noqa: SIM115  closed by __exit__
        self._places: dict[bytes, tuple[int, int]] = {}
        self._identities: dict[int, bytes] = {}
        self._ranks: dict[int, bytes] = {}
        self._known: dict[int, float] = {}
        self._tokens: dict[bytes, int] = {}
        self._unanswered = 0
        self.judge_report = JudgeReport(settings.ruler_model or "")

    def close(self) -> None:
        """Delete the stored conversations."""
        self._texts.close()

    def add(self, number: int, trajectory: Trajectory, known: float | None) -> None:
        """Store a trajectory's conversation; ``known`` is its earlier grade, if any."""
        text = conversation(trajectory)
        which = identity(text)
        self._identities[number] = which
        self._ranks[number] = rank(trajectory.trajectory_id)
        if known is not None:
            self._known[number] = known
        if which not in self._places:
            self._tokens[which] = text_tokens(content for _, content in text)
            encoded = msgspec.json.encode(text)
            self._places[which] = (self._texts.seek(0, 2), len(encoded))
            self._texts.write(encoded)

    def grade(
        self,
        groups: Mapping[str, Sequence[int]],
        tick: Callable[[], None],
        on_answer: Callable[[int, int], None],
    ) -> dict[str, list[float | Failure]]:
        """Grade each member of each group, in the order given; raises NotInstalled.

        ``tick`` is called about every second while it waits for the judge, ``on_answer`` with
        (answers had, answers wanted): two for each question, of which each group has one or more.
        """
        graded: dict[str, dict[bytes, float | Failure]] = {}
        asked: dict[str, list[Question]] = {}
        for key, members in groups.items():
            # In the order of training, so that what is trained together is graded together.
            ranked = sorted(members, key=self._ranks.__getitem__)
            identities = [self._identities[number] for number in ranked]
            known = {self._identities[n]: self._known[n] for n in members if n in self._known}
            too_long = self._too_long(identities)
            graded[key] = too_long | known
            asked[key] = [
                question
                for question in questions(
                    (one for one in identities if one not in too_long),
                    self._settings.ruler_call_size,
                    self._tokens,
                    self._settings.ruler_call_tokens,
                )
                if not known.keys() >= set(question.identities)
            ]
        answers = self._ask({q for group in asked.values() for q in group}, tick, on_answer)
        for key, group_questions in asked.items():
            for question in group_questions:
                answer = answers[question]
                graded[key] |= (
                    answer.grades
                    if isinstance(answer, AgreedGrades)
                    else dict.fromkeys(question.identities, answer)
                )
        grades = {
            # Without a question, all conversations of the group are identical.
            key: [graded[key].get(self._identities[number], ALIKE) for number in members]
            for key, members in groups.items()
        }
        for group_grades in grades.values():
            self._note(group_grades)
        return grades

    def _too_long(self, identities: Sequence[bytes]) -> dict[bytes, Failure]:
        budget = self._settings.ruler_call_tokens
        return {
            one: Failure(
                JudgeFailure.TOO_LONG,
                f"a trajectory has about {self._tokens[one]} tokens; a question of two or more may "
                f"have {budget} (BABYLON_RULER_CALL_TOKENS)",
            )
            for one in identities
            if 2 * self._tokens[one] > budget
        }

    def _ask(
        self,
        distinct: Set[Question],
        tick: Callable[[], None],
        on_answer: Callable[[int, int], None],
    ) -> dict[Question, AgreedGrades | Failure]:
        if not distinct:
            return {}
        asks = sorted(distinct, key=lambda question: question.identities)
        self.judge_report.questions = len(asks)
        answers: dict[int, GradeReply] = {}
        with Judge(self._settings, tick=tick) as judge:
            for answer in judge.answers(self._asks(asks)):
                answers[answer.number] = answer
                self._count(answer)
                on_answer(len(answers), 2 * len(asks))
        combined = {
            question: self._combine(question, answers.get(2 * number), answers.get(2 * number + 1))
            for number, question in enumerate(asks)
        }
        agreed = [one.agreement for one in combined.values() if isinstance(one, AgreedGrades)]
        self.judge_report.agreement = fmean(agreed) if agreed else None
        return combined

    def _asks(self, distinct: Sequence[Question]) -> Iterator[GradeRequest]:
        """Yield each question in both orders; stop after ``_TRIES`` unanswered ones in a row."""
        for number, question in enumerate(distinct):
            for second, asking in enumerate((question, question.again())):
                if self._unanswered >= _TRIES:
                    return
                yield GradeRequest(2 * number + second, tuple(map(self._text, asking.identities)))

    def _combine(
        self, question: Question, first: GradeReply | None, second: GradeReply | None
    ) -> AgreedGrades | Failure:
        if first is None or second is None:
            return Failure(JudgeFailure.GIVEN_UP, f"{_TRIES} questions in a row went unanswered")
        for answer in (first, second):
            if answer.failure is not None:
                return Failure(answer.failure, answer.detail)
        return combine_grades(
            question, _grades(first), _grades(second), self._settings.ruler_min_agreement
        )

    def _count(self, answer: GradeReply) -> None:
        self._unanswered = self._unanswered + 1 if answer.failure in _UNANSWERED else 0
        judge_report = self.judge_report
        judge_report.answers += 1
        judge_report.prompt_tokens += answer.prompt_tokens
        judge_report.completion_tokens += answer.completion_tokens
        judge_report.uncounted += answer.uncounted
        metrics.RULER_ANSWERS.labels(answer.failure or metrics.ANSWERED).inc()
        metrics.RULER_TOKENS.labels("prompt").inc(answer.prompt_tokens)
        metrics.RULER_TOKENS.labels("completion").inc(answer.completion_tokens)
        if answer.usd is not None:
            judge_report.usd = (judge_report.usd or 0.0) + answer.usd
            metrics.RULER_COST.labels("usd").inc(answer.usd)

    def _note(self, grades: Sequence[float | Failure]) -> None:
        judge_report = self.judge_report
        judge_report.trajectories += len(grades)
        for failure in (one for one in grades if isinstance(one, Failure)):
            reason = failure.reason
            judge_report.failures[reason] = judge_report.failures.get(reason, 0) + 1
            judge_report.details.setdefault(reason, failure.detail)
            metrics.RULER_FALLBACKS.labels(reason).inc()

    def _text(self, which: bytes) -> Conversation:
        start, length = self._places[which]
        self._texts.seek(start)
        return msgspec.json.decode(self._texts.read(length), type=Conversation)


def _grades(answer: GradeReply) -> Grades:
    return [(grade.name, grade.score) for grade in answer.grades]
