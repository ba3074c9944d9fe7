"""Windows in which nothing is wrong, as the sandbox's agents and larger ones make them. Seeded.

``sandbox_window``: the demo's markets, agents and scorer, and a policy that answers right with a
given probability. ``long_window``: archetypes, answers of tens of tokens, habits of agents; who
writes much and who bets well are drawn independently of each other.
"""

from __future__ import annotations

import math
import random
from collections.abc import Sequence

from evidence import settings
from msgspec import Struct

from babylon_tasks.dataset.tripwires.watched import MemberFacts
from babylon_tasks.records import Evidence, Group, LlmCall, Member
from babylon_tasks.sandbox.agents import messages
from babylon_tasks.sandbox.markets import STAKE, Market, profit, window_markets
from babylon_tasks.scoring.default import DefaultScorer

AGENTS = 16
MARKETS = 8
ARCHETYPES = ("trader", "degen", "liar")
SCORER = DefaultScorer(settings(profit_scale=STAKE))


class Honest(Struct, frozen=True):
    """The groups of a window, and the facts of their members."""

    groups: list[Group]
    facts: dict[str, MemberFacts]


def sandbox_window(seed: int, number: int, right: float, *, unreadable: float = 0.05) -> Honest:
    """Groups of the demo's window; those without spread are left out, as planning does."""
    draw = random.Random(f"{seed}/answers/{number}")
    groups, facts = [], {}
    for market in window_markets(seed, number, MARKETS):
        answers = [_answer(draw, market, right, unreadable) for _ in range(AGENTS)]
        evidence = [_evidence(market, answer) for answer in answers]
        scores = SCORER.rewards(evidence, evidence)
        members = []
        for agent, (answer, found, score) in enumerate(zip(answers, evidence, scores, strict=True)):
            name = f"{market.id}/{agent}"
            assert score is not None
            members.append(Member(name, score.reward, (_call(market, answer, right),)))
            bets = () if answer is None else ((market.id, market.rises),)
            facts[name] = MemberFacts(f"agent-{agent}", "", found.merit, bets)
        if len({one.reward for one in members}) > 1:
            groups.append(Group(f"window-{number}", market.id, tuple(members)))
    return Honest(groups, facts)


def long_window(
    seed: int, number: int, *, keys: int = 6, size: int = 16, agents: int = 40
) -> Honest:
    """Groups by market and archetype; an agent has its share of them, its skill, its length."""
    habits = random.Random(f"{seed}/habits")
    archetypes = {a: ARCHETYPES[a % len(ARCHETYPES)] for a in range(agents)}
    skills = [habits.gauss(0, 0.5) for _ in range(agents)]
    lengths = [habits.lognormvariate(3.5, 0.4) for _ in range(agents)]
    draw = random.Random(f"{seed}/long/{number}")
    groups, facts = [], {}
    for key in range(keys):
        archetype = ARCHETYPES[key % len(ARCHETYPES)]
        own = [agent for agent in range(agents) if archetypes[agent] == archetype]
        asked = [draw.choice(own) for _ in range(size)]
        merits = [max(-1.0, min(1.0, draw.gauss(skills[agent], 0.6))) for agent in asked]
        evidence = [_bet(merit) for merit in merits]
        scores = SCORER.rewards(evidence, evidence)
        yes = draw.random() < 0.5
        members = []
        for place, (agent, score) in enumerate(zip(asked, scores, strict=True)):
            name = f"w{number}-k{key}-{place}"
            tokens = max(8, round(lengths[agent] * draw.lognormvariate(0, 0.3)))
            call = LlmCall(
                model="m",
                messages=(
                    ("system", f"You are a {archetype}."),
                    ("user", f"Balance {draw.randint(500, 5000)}. Market m-{key} YES 41%. Decide."),
                ),
                response=f"because {name} " + "x" * tokens,
                temperature=1.0,
                logprobs=(-0.8,) * tokens,
                token_ids=tuple(range(tokens)),
            )
            assert score is not None
            members.append(Member(name, score.reward, (call,)))
            facts[name] = MemberFacts(
                f"agent-{agent}", archetype, merits[place], ((f"m-{key}", yes),)
            )
        groups.append(Group(f"w{number}", f"archetype={archetype}|market=m-{key}", tuple(members)))
    return Honest(groups, facts)


def _answer(draw: random.Random, market: Market, right: float, unreadable: float) -> bool | None:
    if draw.random() < unreadable:
        return None
    return market.rises if draw.random() < right else not market.rises


def _evidence(market: Market, answer: bool | None) -> Evidence:
    earned = profit(market, answer)
    right = answer is not None and answer == market.rises
    return Evidence(
        profit=earned,
        right=int(right),
        wrong=int(answer is not None and not right),
        unknown=0,
        failed=int(answer is None),
        waited=0,
        taken=int(answer is not None),
        merit=None if answer is None else 1.0 if right else -1.0,
        earned=0.0,
        staked=0.0,
    )


def _bet(merit: float) -> Evidence:
    return Evidence(None, int(merit > 0), int(merit <= 0), 0, 0, 0, 1, merit, 0.0, 0.0)


def _call(market: Market, answer: bool | None, right: float) -> LlmCall:
    text = "?" if answer is None else "Yes" if answer else "No"
    said = messages(market)
    return LlmCall(
        model="m",
        messages=tuple((one["role"], one["content"]) for one in said),
        response=text,
        temperature=1.0,
        logprobs=(math.log(max(right, 0.01)),),
        token_ids=(0,),
    )


def rewarded(window: Honest, rewards: Sequence[float]) -> Honest:
    """The same window with other rewards, in the order of its members."""
    left = iter(rewards)
    groups = [
        Group(
            group.window_id,
            group.key,
            tuple(
                Member(one.trajectory_id, next(left), one.calls, one.places)
                for one in group.members
            ),
        )
        for group in window.groups
    ]
    return Honest(groups, window.facts)
