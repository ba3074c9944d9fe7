"""The model that serves the likeness of Babylon at first: by rule, right in 70 % of its trades.

Pure. It knows what a prompt says and nothing else, and answers the same prompt of the same agent
in the same way.
"""

from __future__ import annotations

import json
import random
import re
from typing import Any, NamedTuple

from babylon_tasks.sandbox.babylon_world.markets import NEWS_RIGHT
from babylon_tasks.sandbox.babylon_world.news import KNOWN_LINES, UNSEEN_LINES

NAME = "qwen/qwen3-32b"  # what Babylon's agents ask for today
RIGHT = 0.70  # of its trades
WAITS, POSTS, FAILS = 0.14, 0.04, 0.05
# So often it follows the news; else it bets against it.
_FOLLOWS = (RIGHT - (1 - NEWS_RIGHT)) / (2 * NEWS_RIGHT - 1)
_PROMPT = re.compile(r"Balance \$(\d+)\. Market (m-\d+):.*?\nNews: (.*?)\n", re.DOTALL)
_STAKES = {"degen": (0.2, 0.3, 0.4, 0.5), "trader": (0.05, 0.1, 0.15, 0.2)}


class _Asked(NamedTuple):
    balance: int
    market: str
    news: str
    archetype: str


def answer(seed: int, agent: str, system: str, user: str) -> str:
    """Answer a prompt of this world; anything else is answered in prose."""
    asked = _read(system, user)
    if asked is None:
        return "I can only trade on Babylon."
    draw = random.Random(f"{seed}/{agent}/{user}")
    chance = draw.random()
    if chance < WAITS:
        return _written("WAIT", {})
    if chance < WAITS + POSTS:
        return _written("POST", {"content": f"I watch {asked.market}."})
    good = is_good(asked.news)
    yes = good if draw.random() < _FOLLOWS else not good
    stake = max(1, round(asked.balance * draw.choice(_STAKES[asked.archetype]), -1))
    parameters: dict[str, Any] = {
        "marketType": "prediction",
        "marketId": asked.market,
        "side": "buy_yes" if yes else "buy_no",
        "amount": stake,
    }
    written = _written("TRADE", parameters)
    if chance >= 1 - FAILS:  # more than there is, or broken off
        return (
            _written("TRADE", {**parameters, "amount": asked.balance * 2})
            if draw.random() < 0.5
            else written[: draw.randint(10, len(written) - 2)]
        )
    return written


def is_good(news: str) -> bool:
    """Check what a line of this world's news says; raises LookupError for any other."""
    for lines in (KNOWN_LINES, UNSEEN_LINES):
        for good, some in ((True, lines.good), (False, lines.bad)):
            if any(_matches(line, news) for line in some):
                return good
    raise LookupError(f"not a line of news of this world: {news[:80]!r}")


def _matches(line: str, news: str) -> bool:
    words = re.split(r"\{(?:company|thing)\}", line)
    return re.fullmatch(".+".join(map(re.escape, words)), news) is not None


def _read(system: str, user: str) -> _Asked | None:
    found = _PROMPT.match(user)
    archetype = next((name for name in _STAKES if f" {name} " in system), None)
    if found is None or archetype is None:
        return None
    return _Asked(int(found[1]), found[2], found[3], archetype)


def _written(action: str, parameters: dict[str, Any]) -> str:
    return json.dumps({"action": action, "parameters": parameters}, separators=(",", ":"))
