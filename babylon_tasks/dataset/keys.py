"""What makes trajectories comparable: the key of the group that each belongs to. Pure.

A key tells what an agent was asked, never what it answered: a policy that could choose its group
by its answer could choose whom it is compared with.
"""

from __future__ import annotations

import math
import re
from collections import Counter
from collections.abc import Sequence
from functools import lru_cache

from babylon_tasks.records import Trajectory
from babylon_tasks.vocabulary import kind

# Never given up for want of members: other tasks, other goals.
_FIRM = ("scenario", "archetype")
# `Market m-2`, `"marketId": "246813579"`, `ticker: ACME`: an id holds a digit or is in capitals.
_MARKET = re.compile(
    r"(?i:\bmarket(?:_?id)?|\bticker)[\"']?\s*[:=#]?\s*[\"']?"
    r"(?=[A-Za-z_-]*\d|[A-Z]{2})([A-Za-z0-9][\w-]*)"
)

Part = tuple[str, str]  # name and value


def parts(trajectory: Trajectory, window: str, grouping: Sequence[str]) -> tuple[Part, ...]:
    """What a trajectory is grouped by, coarse to fine; what is not known has no part."""
    found = []
    for name in sorted(grouping, key=lambda name: name not in _FIRM):
        value = _PARTS[name](trajectory)
        # Babylon's recorder names the window itself as the scenario: that tells nothing.
        if value and not (name == "scenario" and value == window):
            found.append((name, value))
    return tuple(found)


def keys(members: Sequence[tuple[Part, ...]], min_group_size: int) -> list[str]:
    """The key of each member: as fine as leaves it in company, coarser where it would not."""
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
def _text(found: tuple[Part, ...]) -> str:
    return "|".join(value if name == "scenario" else f"{name}={value}" for name, value in found)


def _decision(trajectory: Trajectory) -> str:
    # A purpose such as "action" tells nothing; a kind of question does.
    purpose = trajectory.calls[0].purpose
    return "" if purpose in ("", "action") or kind(purpose).known else purpose


def _market(trajectory: Trajectory) -> str:
    """The one market that the first question names; several: none."""
    said = next((text for role, text in trajectory.calls[0].messages[::-1] if role == "user"), "")
    named = {match[1] for match in _MARKET.finditer(said)}
    return named.pop() if len(named) == 1 else ""


def _balance(trajectory: Trajectory) -> str:
    balance = trajectory.balance
    return "" if balance is None or balance <= 0 else f"2^{math.floor(math.log2(balance))}"


_PARTS = {
    "scenario": lambda trajectory: trajectory.scenario_id or "",
    "archetype": lambda trajectory: (trajectory.archetype or "").lower(),
    "decision": _decision,
    "market": _market,
    "balance": _balance,
}
