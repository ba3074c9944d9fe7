"""A window's agents, put into the arms they were drawn for: what the rule takes. Pure."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from statistics import fmean

from msgspec import Struct

from babylon_tasks.arms import Arm, Arms, draw
from babylon_tasks.comparison.collapse import ArmAnswers, why_collapsed, why_unanswered
from babylon_tasks.comparison.observed import (
    ArmResult,
    ComparedWindow,
    DrawnAgents,
    Stratum,
    arm_result,
)
from babylon_tasks.comparison.parameters import ComparisonParameters, MetricParameters

_LEAST = 2  # agents of each arm in a stratum of its own: of one there is no variance

AgentsByArm = Mapping[Arm, Sequence["AgentHour"]]


class AgentHour(Struct, frozen=True, kw_only=True):
    """An agent that was active in a window.

    ``reward``: the mean of its trajectories', ``past``: that of the hours before, ``valid``: their
    share among all that it completed.
    ``calls`` were captured; ``by_serving`` and so on: of these, those that the model of an arm
    answered as that arm's.
    """

    agent: str
    archetype: str | None = None
    reward: float | None = None
    past: float | None = None
    valid: float | None = None
    calls: int = 0
    by_serving: int = 0
    by_control: int = 0
    by_examinee: int = 0

    def answered_by(self, arm: Arm) -> bool:
        """Check whether the model of an arm gave most of the answers."""
        answers = {
            Arm.SERVING: self.by_serving,
            Arm.CONTROL: self.by_control,
            Arm.EXAMINEE: self.by_examinee,
        }
        return 2 * answers[arm] > self.calls


class AskingAgents(Struct, frozen=True):
    """The agents of the newest hour with rewards, and what they asked the gateway.

    ``rewarded`` have a reward, and did not ask other lineages alone; ``asking``: of these, those
    that asked for the lineage with their names. ``calls`` were captured, ``unnamed`` of them from
    nobody known, ``elsewhere`` for other models by their names.
    """

    window: str | None
    rewarded: int
    asking: int
    calls: int
    unnamed: int
    elsewhere: int


def observe(
    parameters: ComparisonParameters,
    arms: Arms,
    agents: Iterable[AgentHour],
    window: str,
    *,
    decided: str,
    examinee: str = "",
    discards_examinee: bool = False,
    anchored: bool = False,
    answers: Iterable[ArmAnswers] = (),
) -> ComparedWindow:
    """Summarise a window by arm, as drawn, whatever answered; ``answers``: to each arm."""
    drawn: dict[Arm, list[AgentHour]] = {arm: [] for arm in Arm}
    for one in agents:
        drawn[draw(arms, one.agent, window)].append(one)
    rewarded = [(arm, one) for arm, some in drawn.items() for one in some if one.reward is not None]
    complied = sum(one.answered_by(arm) for arm, one in rewarded)
    used = [arm for arm in Arm if arm is not Arm.EXAMINEE or examinee]
    pasts = _pasts([one for _, one in rewarded])
    everyone = [one for some in drawn.values() for one in some]
    rewards = _values(drawn, {one.agent: one.reward for one in everyone}, pasts)
    valid = _values(drawn, {one.agent: one.valid for one in everyone}, {})
    return ComparedWindow(
        window=window,
        reward=_strata(rewards, used, parameters.reward),
        guard=() if parameters.guard is None else _strata(valid, used, parameters.guard),
        decided=decided,
        examinee=examinee,
        complied=complied / len(rewarded) if rewarded else 1.0,
        drawn=DrawnAgents(*(len(drawn[arm]) for arm in Arm)),
        discards_examinee=discards_examinee,
        anchored=anchored,
        collapsed=_why_unanswered(drawn, arms)
        or why_collapsed(
            {one.arm: one for one in answers},
            {
                arm: [one.valid for one in some if one.valid is not None]
                for arm, some in drawn.items()
            },
            external=arms.control_model is not None,
        ),
    )


def _why_unanswered(drawn: AgentsByArm, arms: Arms) -> str:
    answered = {arm: sum(one.calls > 0 for one in some) for arm, some in drawn.items()}
    serving = 1 - arms.control_share - arms.examinee_share
    if not serving or not arms.control_share:
        return ""
    return why_unanswered(
        answered[Arm.SERVING], answered[Arm.CONTROL], serving / (serving + arms.control_share)
    )


_Value = tuple[float, float | None]  # of the hour, and of the past
_Values = dict[str, dict[Arm, list[_Value]]]


def _pasts(agents: Sequence[AgentHour]) -> dict[str, float]:
    """Read each agent's past, for one without the mean of all; empty where none has one."""
    known = [one.past for one in agents if one.past is not None]
    if not known:
        return {}
    mean = fmean(known)
    return {one.agent: mean if one.past is None else one.past for one in agents}


def _values(
    drawn: AgentsByArm, values: Mapping[str, float | None], pasts: Mapping[str, float]
) -> _Values:
    found: _Values = {}
    for arm, some in drawn.items():
        for one in some:
            value = values[one.agent]
            if value is not None:
                of_stratum = found.setdefault(one.archetype or "", {})
                of_stratum.setdefault(arm, []).append((value, pasts.get(one.agent)))
    return found


def _strata(values: _Values, used: Sequence[Arm], metric: MetricParameters) -> tuple[Stratum, ...]:
    """Merge the strata that lack an arm, and if that is not enough all of them."""
    whole = {name: arms for name, arms in values.items() if _is_whole(arms, used)}
    rest = [arms for name, arms in values.items() if name not in whole]
    merged = _merge(rest)
    if rest and not _is_whole(merged, used):
        return (_stratum("", _merge(values.values()), used, metric),)
    found = [_stratum(name, arms, used, metric) for name, arms in sorted(whole.items())]
    return (*found, *([_stratum("the rest", merged, used, metric)] if rest else []))


def _is_whole(arms: Mapping[Arm, Sequence[_Value]], used: Sequence[Arm]) -> bool:
    return all(len(arms.get(arm, ())) >= _LEAST for arm in used)


def _merge(strata: Iterable[Mapping[Arm, Sequence[_Value]]]) -> dict[Arm, list[_Value]]:
    merged: dict[Arm, list[_Value]] = {}
    for arms in strata:
        for arm, values in arms.items():
            merged.setdefault(arm, []).extend(values)
    return merged


def _stratum(
    name: str,
    arms: Mapping[Arm, Sequence[_Value]],
    used: Sequence[Arm],
    metric: MetricParameters,
) -> Stratum:
    def result(arm: Arm) -> ArmResult:
        of_arm = arms.get(arm, ())
        # All of a window have a past, or none has.
        pasts = [past for _, past in of_arm if past is not None]
        return arm_result([value for value, _ in of_arm], metric, pasts)

    examinee = result(Arm.EXAMINEE) if Arm.EXAMINEE in used else None
    return Stratum(result(Arm.SERVING), result(Arm.CONTROL), examinee, name)
