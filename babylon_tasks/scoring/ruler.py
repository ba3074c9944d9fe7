"""What a judge is asked about comparable trajectories, and whether its answers are usable.

Pure: ``pipeline/llm_judge.py`` has it asked. The judge sees conversations and nothing else: neither
outcomes, which it could only repeat, nor who gave the answers.
"""

from __future__ import annotations

import hashlib
import math
import re
from collections.abc import Iterable, Mapping, Sequence
from importlib.metadata import PackageNotFoundError, version
from typing import ClassVar

from msgspec import Struct

from babylon_tasks.records import Evidence, Score, Trajectory
from babylon_tasks.scoring.default import DefaultScorer, components
from babylon_tasks.settings import Settings

Conversation = tuple[tuple[str, str], ...]  # (role, content)
Grades = Sequence[tuple[str, float | None]]  # (name, grade) as a judge gave them, unchecked
# RULER's own marks: an agent that writes them could close its trajectory and open another's.
_MARKS = re.compile(r"<(?=\s*/?\s*(?:trajectory|context|available_tools)\b)", re.IGNORECASE)


ALIKE = 0.5  # the grade of identical conversations


class RulerScorer:
    """The judge's grade as the reward, stored beside the evidence, which the judge did not see.

    ``fallback`` rewards trajectories without a usable grade.
    """

    name: ClassVar[str] = "ruler"
    version: str = "1"

    def __init__(self, settings: Settings) -> None:
        # Another judge or rubric grades otherwise: they are part of the version.
        rubric = _art() if settings.ruler_rubric is None else _brief(settings.ruler_rubric)
        self.version = f"1 {settings.ruler_model} {rubric}"
        self.fallback = DefaultScorer(settings)

    def score(self, shown: Evidence, grade: float) -> Score:
        """The grade is the reward."""
        return Score(grade, components(shown) | {"ruler": grade})

    def rewards(
        self, members: Sequence[Evidence], reference: Sequence[Evidence]
    ) -> Sequence[Score | None]:
        """Give every member the same reward: without conversations there is nothing to grade."""
        del reference
        return [self.score(shown, ALIKE) for shown in members]


def _art() -> str:
    """ART has the rubric where the operator has none."""
    try:
        return f"art-{version('openpipe-art')}"
    except PackageNotFoundError:
        return "art"  # then the judge cannot be asked either


def _brief(text: str) -> str:
    return hashlib.blake2b(text.encode("utf-8", "surrogatepass"), digest_size=4).hexdigest()


class Question(Struct, frozen=True):
    """Conversations to be graded beside each other, all different, by their ``identity``.

    The judge is shown them as "1", "2", ... in this order.
    """

    shown: tuple[bytes, ...]

    def again(self) -> Question:
        """The same list rotated by half: a judge that grades by position contradicts itself.

        If it prefers the first, the last or both ends, the rank correlation is 0 or less. In a
        reversed list the ends would stay the ends.
        """
        half = len(self.shown) // 2
        return Question(self.shown[half:] + self.shown[:half])


def conversation(trajectory: Trajectory) -> Conversation:
    """All messages, call by call; a system prompt is not repeated while it stays the same."""
    found: list[tuple[str, str]] = []
    system: str | None = None
    for call in trajectory.calls:
        for role, text in call.messages:
            if role == "system":
                if text == system:
                    continue
                system = text
            found.append((role, text))
        found.append(("assistant", call.response))
    return tuple((role, _MARKS.sub("‹", text)) for role, text in found)


def identity(said: Conversation) -> bytes:
    """A hash that is equal for identical conversations."""
    text = hashlib.blake2b(digest_size=16)
    for role, content in said:
        text.update(f"{role} {len(content)} {content}".encode("utf-8", "surrogatepass"))
    return text.digest()


def questions(said: Iterable[bytes], size: int) -> tuple[Question, ...]:
    """The different ones among them, ``size`` to a question, in the order in which they come.

    No question where they are all the same: there is nothing to compare.
    """
    distinct = list(dict.fromkeys(said))
    if len(distinct) < 2:
        return ()
    starts = list(range(0, len(distinct), size))
    if len(distinct) - starts[-1] == 1:  # one alone cannot be compared
        starts[-1] -= 1
    return tuple(
        Question(tuple(distinct[start:end]))
        for start, end in zip(starts, [*starts[1:], len(distinct)], strict=True)
    )


class Failure(Struct, frozen=True):
    """Why there are no grades: a reason and its detail."""

    reason: str
    detail: str


class Believed(Struct, frozen=True):
    """The mean of both grades of each conversation, and how far both askings agreed."""

    grades: dict[bytes, float]
    agreement: float


def fault(grades: Grades, count: int) -> Failure | None:
    """What is wrong with the grades of ``count`` conversations; None where they can be read."""
    names = [name for name, _ in grades]
    if sorted(names) != sorted(str(number) for number in range(1, count + 1)):
        told = ", ".join(names)[:80] or "none"
        return Failure("ids", f"of {count} trajectories it graded {told}")
    for name, score in grades:
        if score is None or not math.isfinite(score):
            return Failure("bounds", f"it gave trajectory {name} a grade that is no number")
        if not 0 <= score <= 1:
            return Failure("bounds", f"it gave trajectory {name} {score:g}, no grade in [0, 1]")
    return None


def believed(
    question: Question, first: Grades, second: Grades, min_agreement: float
) -> Believed | Failure:
    """What both askings come to, or why they cannot be believed.

    ``first`` are the grades for ``question``, ``second`` those for ``question.again()``.
    """
    for grades in (first, second):
        wrong = fault(grades, len(question.shown))
        if wrong is not None:
            return wrong
    one, other = _by_conversation(question, first), _by_conversation(question.again(), second)
    shown = question.shown
    agreement = tau([one[said] for said in shown], [other[said] for said in shown])
    if agreement < min_agreement:
        return Failure(
            "disagreement", f"asked twice, it agreed with itself to {agreement:.2f} only"
        )
    return Believed({said: (one[said] + other[said]) / 2 for said in shown}, agreement)


def _by_conversation(question: Question, grades: Grades) -> Mapping[bytes, float]:
    scores = {name: score for name, score in grades if score is not None}
    return {said: scores[str(number)] for number, said in enumerate(question.shown, start=1)}


def tau(one: Sequence[float], other: Sequence[float]) -> float:
    """Kendall's tau-b, the rank correlation that minds ties (Kendall 1945), in [-1, 1].

    1 where neither tells any two apart, 0 where only one of them does.
    """
    agreed = apart = other_apart = 0
    for i in range(len(one)):
        for j in range(i):
            left = (one[i] > one[j]) - (one[i] < one[j])
            right = (other[i] > other[j]) - (other[i] < other[j])
            agreed += left * right
            apart += left != 0
            other_apart += right != 0
    if not apart and not other_apart:
        return 1.0
    if not apart or not other_apart:
        return 0.0
    return agreed / math.sqrt(apart * other_apart)
