"""Which trajectories are comparable: those with the same group key. Pure.

A key depends on what an agent was asked, never on its answer: otherwise a policy could choose which
answers it is compared with.
"""

from __future__ import annotations

import hashlib
import math
import re
from collections import Counter
from collections.abc import Sequence
from functools import lru_cache

from babylon_tasks.records import Facts
from babylon_tasks.vocabulary import kind
from babylon_tasks.windows import is_window_id

# Never dropped, however few members remain: these are different tasks and goals.
_FIRM = ("scenario", "archetype")
# Of a longer part the key has the beginning and a hash: indexes take 2704 bytes of all together.
_LONGEST, _BEGINNING = 100, 20
# `Market m-2`, `Market #1 (id: 24681)`, `"marketId": "246813579"`, `ticker: ACME`: an id contains
# a digit or is in capitals.
# Bounded and possessive: an agent's prompt must not make the search quadratic.
_MARKET = re.compile(
    r"(?i:\bmarket(?:_?id)?|\bticker)[\"']?\s*+(?:#\d{1,4}+ \(id: |[:=#]?\s*+[\"']?)"
    r"(?=[A-Za-z_-]{0,63}\d|[A-Z]{2})([A-Za-z0-9][\w-]*)"
)

Part = tuple[str, str]  # name and value


def firm_first(grouping: Sequence[str]) -> tuple[str, ...]:
    """Order the names of the parts as a key has them."""
    return tuple(sorted(grouping, key=lambda name: name not in _FIRM))


def parts(facts: Facts, window: str, grouping: Sequence[str]) -> tuple[Part, ...]:
    """List the parts of a trajectory's key, coarse to fine; unknown ones are left out.

    ``grouping`` are their names, by ``firm_first``.
    """
    named = []
    for name in grouping:
        value = _PARTS[name](facts)
        # Babylon's recorder writes the hour of the start as the scenario, which adds nothing, and
        # that of the end as the window.
        hour = name == "scenario" and (value == window or is_window_id(value))
        if value and not hour:
            named.append((name, value if len(value) <= _LONGEST else _shortened(value)))
    return tuple(named)


def _shortened(value: str) -> str:
    digest = hashlib.blake2b(value.encode("utf-8", "surrogatepass"), digest_size=16)
    return f"{value[:_BEGINNING]}…{digest.hexdigest()}"


def keys(members: Sequence[tuple[Part, ...]], min_group_size: int) -> list[str]:
    """Choose each member's finest key that at least ``min_group_size`` members share."""
    placed: list[str | None] = [None] * len(members)
    open_ = list(range(len(members)))
    depth = max(map(len, members), default=0)
    while open_:
        cut = {number: members[number][:depth] for number in open_}
        counts = Counter(cut.values())
        for number in open_:
            here = cut[number]
            firm = not here or here[-1][0] in _FIRM
            if firm or (len(members[number]) >= depth and counts[here] >= min_group_size):
                placed[number] = _text(here)
        open_ = [number for number in open_ if placed[number] is None]
        depth -= 1
    return [key or "" for key in placed]


@lru_cache(maxsize=4096)
def _text(key_parts: tuple[Part, ...]) -> str:
    return "|".join(value if name == "scenario" else f"{name}={value}" for name, value in key_parts)


def kind_of_key(key: str) -> str:
    """Name the kind of question of a group: what its key says of archetype and decision."""
    named = [part for part in key.split("|") if part.startswith(("archetype=", "decision="))]
    return ", ".join(named)


def _decision(facts: Facts) -> str:
    # A purpose such as "action" is not a kind of question.
    purpose = facts.purpose
    return "" if purpose in ("", "action") or kind(purpose).known else purpose


def _market(facts: Facts) -> str:
    """Find the market that the first question names, if it names exactly one."""
    named = set(markets_in(facts.question))
    return named.pop() if len(named) == 1 else ""


def markets_in(question: str) -> list[str]:
    """List the markets that a question names.

    The pattern is tried only where one of its words is: at each character of a prompt of some
    kilobytes it takes longer than all the rest of a row. Other alphabets have letters that it
    counts as one of these.
    """
    if not question.isascii():
        return _MARKET.findall(question)
    found, end = [], 0
    lower = question.lower()
    for start in sorted([*_places(lower, "market"), *_places(lower, "ticker")]):
        match = _MARKET.match(question, start) if start >= end else None
        if match is not None:
            found.append(match[1])
            end = match.end()
    return found


def _places(text: str, word: str) -> list[int]:
    places = []
    place = text.find(word)
    while place >= 0:
        places.append(place)
        place = text.find(word, place + len(word))
    return places


def _balance(facts: Facts) -> str:
    balance = facts.balance
    return "" if balance is None or balance <= 0 else f"2^{math.floor(math.log2(balance))}"


_PARTS = {
    "scenario": lambda facts: facts.scenario_id or "",
    "archetype": lambda facts: (facts.archetype or "").lower(),
    "decision": _decision,
    "market": _market,
    "balance": _balance,
}
