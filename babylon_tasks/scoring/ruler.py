"""The questions to a judge about comparable trajectories, and the checks of its answers.

Pure: ``pipeline/llm_judge.py`` asks them. The judge sees conversations and nothing else: neither
outcomes, which it could only repeat, nor which model answered.
"""

from __future__ import annotations

import hashlib
import math
import re
from collections.abc import Iterable, Mapping, Sequence
from importlib.metadata import PackageNotFoundError, version
from typing import ClassVar

from msgspec import Struct

from babylon_tasks.reasons import JudgeFailure
from babylon_tasks.records import Evidence, Score, Trajectory
from babylon_tasks.scoring.default import DefaultScorer, components, decisions
from babylon_tasks.settings import Settings

Conversation = tuple[tuple[str, str], ...]  # (role, content)
Grades = Sequence[tuple[str, float | None]]  # (name, grade) as the judge gave them, unchecked
# RULER's own tags: an agent that writes them could close its trajectory and open another's.
_MARKS = re.compile(r"<(?=\s*+/?\s*+(?:trajectory|context|available_tools)\b)", re.IGNORECASE)


ALIKE = 0.5  # the grade of identical conversations


class RulerScorer:
    """The judge's grade as the reward, stored beside the evidence, which the judge does not see.

    ``fallback`` rewards trajectories without a usable grade.
    """

    name: ClassVar[str] = "ruler"
    version: str = "1"

    def __init__(self, settings: Settings) -> None:
        # Another judge or rubric grades differently, so both are part of the version.
        rubric = _art() if settings.ruler_rubric is None else _brief(settings.ruler_rubric)
        self.version = f"1 {settings.ruler_model} {rubric}"
        self.fallback = DefaultScorer(settings)

    def score(self, evidence: Evidence, grade: float) -> Score:
        """Make the grade the reward."""
        return Score(grade, components(evidence, decisions(evidence)) | {"ruler": grade})

    def rewards(
        self, members: Sequence[Evidence], reference: Sequence[Evidence]
    ) -> Sequence[Score | None]:
        """Give every member the same reward: without conversations there is nothing to grade."""
        del reference
        return [self.score(evidence, ALIKE) for evidence in members]


def _art() -> str:
    """Name the version of ART, whose rubric is the default; ``art`` where it is not installed."""
    try:
        return f"art-{version('openpipe-art')}"
    except PackageNotFoundError:
        return "art"  # then there is no judge to ask either


def _brief(text: str) -> str:
    return hashlib.blake2b(text.encode("utf-8", "surrogatepass"), digest_size=4).hexdigest()


class Question(Struct, frozen=True):
    """Conversations to grade against each other, all different, by their ``identity``.

    The judge sees them as "1", "2", ... in this order.
    """

    identities: tuple[bytes, ...]

    def again(self) -> Question:
        """Rotate the list by half: a judge that grades by position contradicts itself.

        If it prefers the first, the last or both ends, the rank correlation is 0 or less. In a
        reversed list the ends would stay the ends.
        """
        half = len(self.identities) // 2
        return Question(self.identities[half:] + self.identities[:half])


def conversation(trajectory: Trajectory) -> Conversation:
    """Collect all messages, call by call; an unchanged system prompt is not repeated."""
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


def identity(conversation: Conversation) -> bytes:
    """Hash a conversation; identical ones have equal hashes."""
    text = hashlib.blake2b(digest_size=16)
    for role, content in conversation:
        text.update(f"{role} {len(content)} {content}".encode("utf-8", "surrogatepass"))
    return text.digest()


def questions(
    identities: Iterable[bytes], size: int, tokens: Mapping[bytes, int], budget: int
) -> tuple[Question, ...]:
    """Divide the distinct conversations into questions, in order of first occurrence.

    A question has at most ``size`` of them and ``budget`` tokens; each must have at most half of
    that. There is none where all are the same: there is nothing to compare. Where the last one
    would be alone, the one before it moves there, or is asked about again if it would leave one.
    """
    divided: list[list[bytes]] = []
    room = 0
    for one in dict.fromkeys(identities):
        if not divided or len(divided[-1]) == size or tokens[one] > room:
            divided.append([])
            room = budget
        divided[-1].append(one)
        room -= tokens[one]
    if len(divided) > 1 and len(divided[-1]) == 1:  # a single one cannot be compared
        before = divided[-2]
        divided[-1].insert(0, before.pop() if len(before) > 2 else before[-1])
    return tuple(Question(tuple(one)) for one in divided if len(one) > 1)


class Failure(Struct, frozen=True):
    """Why there are no grades: a reason and its detail."""

    reason: JudgeFailure
    detail: str


class AgreedGrades(Struct, frozen=True):
    """The mean of both grades of each conversation, and how far the two answers agreed."""

    grades: dict[bytes, float]
    agreement: float


def invalid_grades(grades: Grades, count: int) -> Failure | None:
    """Describe why the grades of ``count`` conversations are unusable; None if they are usable."""
    names = [name for name, _ in grades]
    if sorted(names) != sorted(str(number) for number in range(1, count + 1)):
        graded = ", ".join(names)[:80] or "none"
        return Failure(JudgeFailure.IDS, f"of {count} trajectories it graded {graded}")
    for name, score in grades:
        if score is None or not math.isfinite(score):
            return Failure(
                JudgeFailure.BOUNDS, f"it gave trajectory {name} a grade that is not a number"
            )
        if not 0 <= score <= 1:
            return Failure(
                JudgeFailure.BOUNDS, f"it gave trajectory {name} {score:g}, not a grade in [0, 1]"
            )
    return None


def combine_grades(
    question: Question, first: Grades, second: Grades, min_agreement: float
) -> AgreedGrades | Failure:
    """Average the two answers, or return why they are unusable.

    ``first`` are the grades for ``question``, ``second`` those for ``question.again()``.
    """
    for grades in (first, second):
        invalid = invalid_grades(grades, len(question.identities))
        if invalid is not None:
            return invalid
    one, other = _by_conversation(question, first), _by_conversation(question.again(), second)
    identities = question.identities
    agreement = tau([one[key] for key in identities], [other[key] for key in identities])
    if agreement < min_agreement:
        return Failure(
            JudgeFailure.DISAGREEMENT, f"asked twice, its answers agreed only to {agreement:.2f}"
        )
    return AgreedGrades({key: (one[key] + other[key]) / 2 for key in identities}, agreement)


def _by_conversation(question: Question, grades: Grades) -> Mapping[bytes, float]:
    scores = {name: score for name, score in grades if score is not None}
    return {key: scores[str(number)] for number, key in enumerate(question.identities, start=1)}


def tau(one: Sequence[float], other: Sequence[float]) -> float:
    """Compute Kendall's tau-b, the rank correlation with ties (Kendall 1945), in [-1, 1].

    1 where all values of both are tied, 0 where only those of one are.
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
