"""How different answers are, by kind of question: what was sampled, and what a policy would say.

PURE. A policy that says nearly the same to everything can be worth as much as a coin, and learns
nothing more: its groups have no spread. So it is counted what answers come to, not their words.
"""

from __future__ import annotations

import math
from collections import Counter, defaultdict
from collections.abc import Iterable, Mapping, Sequence
from statistics import fmean

from msgspec import Struct

from babylon_tasks.dataset.keys import kind_of_key
from babylon_tasks.dataset.read_answer import decides, in_words, is_of_words, read_answer
from babylon_tasks.records import Group, LlmCall, Member

Says = Mapping[str, float]  # what answers to a group come to, by probability
_MOST_KINDS = 50
_DIGITS = 9  # a mean of three times .7 is a little less


class Diversity(Struct, frozen=True):
    """Of the answers to one kind of question: what most come to, their share, the mean entropy of
    what the answers of one group come to, in nats, and the probability of all that are known."""

    groups: int
    commonest: str
    share: float
    entropy: float
    known: float


class GroupAnswers(Struct, frozen=True):
    """Of one group: the kind of question, what its recorded answers came to, what paid best, and
    whether members acted differently (``is_contested``)."""

    kind: str
    sampled: dict[str, float]
    best: str
    contested: bool = True


def says(member: Member) -> str:
    """Say what a member's answers come to, each once: doing the same twice is no difference.

    Nor is what was said beside what was done, as where an agent thinks aloud, or is asked again for
    what nobody could read.
    """
    words = {in_words(call.response) for call in member.calls}
    return "+".join(sorted(_done(member) or words))


def in_short(meaning: str) -> str:
    """Name what answers come to, for people: words that nobody can act upon are kept as a hash."""
    if not meaning:
        return "no words"
    hashes = map(is_of_words, meaning.split("+"))
    return "the same words" if all(hashes) else meaning


def sampled(members: Iterable[Member]) -> dict[str, float]:
    """Count what the answers of a group came to, in shares."""
    counts = Counter(map(says, members))
    return {one: count / counts.total() for one, count in counts.items()}


def best(group: Group) -> str:
    """Say what the answers of a group came to that earned the most on average; of several that
    earned the same, what most of them came to."""
    rewards: dict[str, list[float]] = defaultdict(list)
    for member in group.members:
        rewards[says(member)].append(member.reward)

    def earned(meaning: str) -> tuple[float, int, str]:
        paid = rewards[meaning]
        return round(fmean(paid), _DIGITS), len(paid), meaning

    return max(rewards, key=earned)


def is_contested(group: Group) -> bool:
    """Check whether members who could act acted differently.

    Where all did the same, rewards say what it costs to fail, but not whether this pays: what
    nobody did counts as the worst (Dudik et al. 2011), however right it is.
    """
    return len({done for member in group.members if (done := _done(member))}) > 1


def answers(groups: Iterable[Group]) -> tuple[GroupAnswers, ...]:
    """Find what the recorded answers of each group came to."""
    return tuple(
        GroupAnswers(kind_of_key(one.key), sampled(one.members), best(one), is_contested(one))
        for one in groups
    )


def by_kind(kinds: Sequence[str], of_groups: Sequence[Says]) -> dict[str, Diversity]:
    """Sum up, by kind of question, what the answers of each group came to."""
    found: dict[str, list[Says]] = defaultdict(list)
    for kind, one in zip(kinds, of_groups, strict=True):
        found[kind].append(one)
    most = sorted(found, key=lambda kind: len(found[kind]), reverse=True)[:_MOST_KINDS]
    return {kind: _diversity(found[kind]) for kind in most}


def _done(member: Member) -> frozenset[str]:
    """Read what a member's answers decide; nothing of those that nobody can act upon."""
    read = (read_answer(call.response, _prompt(call)) for call in member.calls)
    return frozenset(decides(action) for action in read if action is not None)


def _prompt(call: LlmCall) -> str:
    return "\n".join(text for _, text in call.messages)


def _diversity(of_groups: Sequence[Says]) -> Diversity:
    total: dict[str, float] = defaultdict(float)
    for one in of_groups:
        for meaning, probability in one.items():
            total[meaning] += probability
    commonest = max(total, key=lambda meaning: (total[meaning], meaning), default="")
    share = total.get(commonest, 0.0) / len(of_groups)
    known = math.fsum(total.values()) / len(of_groups)
    return Diversity(len(of_groups), commonest, share, fmean(map(_entropy, of_groups)), known)


def _entropy(one: Says) -> float:
    rest = max(0.0, 1 - math.fsum(one.values()))
    return max(0.0, -math.fsum(p * math.log(p) for p in (*one.values(), rest) if p > 0))
