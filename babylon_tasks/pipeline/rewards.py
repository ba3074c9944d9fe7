"""Reward the groups of a window, each with the scorer of its archetype."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from types import TracebackType

from msgspec import Struct

from babylon_tasks.dataset.keys import Part, firm_first, keys, parts
from babylon_tasks.pipeline.llm_judge import JudgeReport, JudgeSession
from babylon_tasks.records import Evidence, Facts, Score, Trajectory
from babylon_tasks.scoring.base import Scorer
from babylon_tasks.scoring.choice import Scorers
from babylon_tasks.scoring.ruler import Failure, RulerScorer
from babylon_tasks.settings import Settings

_UNGRADED = "judged=no"  # ends the key of the group of those without a grade
# Grades from earlier reward versions, by trajectory, content hash and judge's version.
Known = Mapping[tuple[str, str, str], float]


class TrajectoryReward(Struct, frozen=True, gc=False):
    """The result of comparing one trajectory; without a score where it has no evidence."""

    score: Score | None
    group: str
    scorer: str
    version: str


class WindowRewards:
    """Collect each trajectory's evidence and group key parts, and reward them once all are known.

    Keeps a few hundred bytes per trajectory; conversations are kept for a judge only, and in a
    file. Use as a context manager.
    """

    def __init__(self, settings: Settings, window: str, scorers: Scorers, known: Known) -> None:
        self.evidence: list[Evidence] = []
        self._settings = settings
        self._window = window
        self._scorers = scorers
        self._known = known
        self._grouping = firm_first(settings.grouping)
        self._parts: list[tuple[Part, ...]] = []
        self._judge_session = JudgeSession(settings)

    def __enter__(self) -> WindowRewards:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self._judge_session.close()

    @property
    def judge_report(self) -> JudgeReport | None:
        """The judge's costs and results; None where it was not asked."""
        judge_report = self._judge_session.judge_report
        return judge_report if judge_report.questions else None

    def add(
        self, facts: Facts, evidence: Evidence, content: str, whole: Trajectory | None = None
    ) -> None:
        """Add a trajectory: its evidence, its content hash, and itself where a judge is needed."""
        number = len(self.evidence)
        self.evidence.append(evidence)
        self._parts.append(parts(facts, self._window, self._grouping))
        if whole is None:
            return
        scorer = self._scorer(number)
        if isinstance(scorer, RulerScorer):
            known = self._known.get((facts.trajectory_id, content, scorer.version))
            self._judge_session.add(number, whole, known)

    def rewards(
        self,
        tick: Callable[[], None],
        on_answer: Callable[[int, int], None] = lambda *_: None,
    ) -> list[TrajectoryReward]:
        """Compare the members of each group; results are in the order of ``add``.

        ``tick`` and ``on_answer`` as in ``JudgeSession.grade``. Raises ScoringFailed where an
        operator's scorer fails, NotInstalled where the judge cannot be asked.
        """
        group_keys = keys(self._parts, self._settings.min_group_size)
        groups: dict[str, list[int]] = {}
        for number, key in enumerate(group_keys):
            groups.setdefault(key, []).append(number)
        with_judge = {
            key: members
            for key, members in groups.items()
            if isinstance(self._scorer(members[0]), RulerScorer)
        }
        graded = self._judge_session.grade(with_judge, tick, on_answer)
        rewarded: dict[int, TrajectoryReward] = {}
        for key, members in groups.items():
            grades = graded.get(key)
            rewarded |= self._graded(key, members, grades) if grades else self._scored(key, members)
        return [rewarded[number] for number in range(len(rewarded))]

    def _scored(self, key: str, members: Sequence[int]) -> dict[int, TrajectoryReward]:
        scorer = self._scorer(members[0])
        scores = scorer.rewards(self._evidence_of(members), self.evidence)
        return {
            number: TrajectoryReward(score, key, scorer.name, scorer.version)
            for number, score in zip(members, scores, strict=True)
        }

    def _graded(
        self, key: str, members: Sequence[int], grades: Sequence[float | Failure]
    ) -> dict[int, TrajectoryReward]:
        """Turn grades into rewards; members without one form a group with another scorer.

        A judge's grades and rewards of another kind cannot be compared.
        """
        scorer = self._scorer(members[0])
        if not isinstance(scorer, RulerScorer):
            raise TypeError(f"group {key} was graded by a judge, but its scorer is {scorer.name}")
        given = dict(zip(members, grades, strict=True))
        rewarded: dict[int, TrajectoryReward] = {}
        for number, grade in given.items():
            if not isinstance(grade, Failure):
                score = scorer.score(self.evidence[number], grade)
                rewarded[number] = TrajectoryReward(score, key, scorer.name, scorer.version)
        failed = {n: grade for n, grade in given.items() if isinstance(grade, Failure)}
        fallback = scorer.fallback
        scores = fallback.rewards(self._evidence_of(list(failed)), self.evidence) if failed else []
        apart = f"{key}|{_UNGRADED}".lstrip("|")
        for (number, failure), made in zip(failed.items(), scores, strict=True):
            label = f"{fallback.name} ({scorer.name} failed: {failure.reason})"
            rewarded[number] = TrajectoryReward(made, apart, label, fallback.version)
        return rewarded

    def _evidence_of(self, members: Sequence[int]) -> list[Evidence]:
        return [self.evidence[number] for number in members]

    def _scorer(self, number: int) -> Scorer:
        # The settings ensure that archetypes with different scorers never share a group.
        return self._scorers.scorer_for(dict(self._parts[number]).get("archetype"))
