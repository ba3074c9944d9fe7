"""Prediction markets of the likeness of Babylon, each with a price and one line of news. Pure.

The news is wrong in 8 of 100 cases, so nobody can be right more often than in 92. Each hour has as
many markets that end with YES as with NO, so that no constant answer pays.
"""

from __future__ import annotations

import random
from dataclasses import dataclass

from babylon_tasks.sandbox.babylon_world.news import (
    DAYS,
    KNOWN_LINES,
    KNOWN_NAMES,
    UNSEEN_LINES,
    UNSEEN_NAMES,
    Lines,
    Names,
)

ARCHETYPES = ("trader", "degen")
NEWS_RIGHT = 0.92
_FIRST_ID, _IDS = 1000, 9000  # four digits: fewer than a million tokens, and none twice in a demo


@dataclass(frozen=True)
class BabylonMarket:
    """One market as the agents of an archetype see it; ``yes`` is how it ends, hours later.

    ``good`` is what the news says; ``unseen``: in a phrasing that no training has. ``balance`` is
    what each of its agents may stake on it.
    """

    id: str
    archetype: str
    question: str
    news: str
    yes_price: float
    balance: int
    good: bool
    unseen: bool
    yes: bool


def hour_markets(seed: int, number: int, count: int) -> list[BabylonMarket]:
    """Draw the markets of the ``number``-th hour, for each archetype in turn; repeatable by seed.

    Half of each archetype's end with YES.
    """
    draw = random.Random(f"{seed}/babylon/{number}")
    made = [
        _market(
            draw,
            _market_id(seed, number * count + index),
            ARCHETYPES[index % len(ARCHETYPES)],
            KNOWN_NAMES,
            KNOWN_LINES,
            yes=index // len(ARCHETYPES) % 2 == 0,
        )
        for index in range(count)
    ]
    draw.shuffle(made)
    return made


def kept_markets(seed: int, count: int, *, purpose: str) -> list[BabylonMarket]:
    """Draw markets that no hour has, with companies of their own, for an evaluation.

    Every second one has a phrasing that no hour has. ``purpose`` makes another set: a decision must
    not be made on the markets that its result is measured on.
    """
    draw = random.Random(f"{seed}/babylon/{purpose}")
    return [
        _market(
            draw,
            f"m-{draw.randrange(_FIRST_ID, _FIRST_ID + _IDS)}",
            ARCHETYPES[index // 4 % len(ARCHETYPES)],
            UNSEEN_NAMES,
            UNSEEN_LINES if index % 2 else KNOWN_LINES,
            yes=index // 2 % 2 == 0,
        )
        for index in range(count)
    ]


def messages(market: BabylonMarket) -> list[dict[str, str]]:
    """Write the prompt about a market."""
    price = f"{market.yes_price:.2f}"
    return [
        {
            "role": "system",
            "content": f"You are a {market.archetype} on Babylon. Answer with one JSON action.",
        },
        {
            "role": "user",
            "content": (
                f"Balance ${market.balance}. Market {market.id}: {market.question} "
                f"YES costs {price}.\nNews: {market.news}\n"
                "Actions: TRADE (buy_yes or buy_no), POST, WAIT."
            ),
        },
    ]


def _market_id(seed: int, number: int) -> str:
    # Multiplied by a number without a common factor with 9000: each id once in 9000 markets.
    return f"m-{_FIRST_ID + (number * 3571 + seed * 577) % _IDS}"


def _market(
    draw: random.Random, market_id: str, archetype: str, names: Names, lines: Lines, *, yes: bool
) -> BabylonMarket:
    company, thing = draw.choice(names.companies), draw.choice(names.things)
    good = yes if draw.random() < NEWS_RIGHT else not yes
    news = draw.choice(lines.good if good else lines.bad)
    return BabylonMarket(
        id=market_id,
        archetype=archetype,
        question=f"Will {company} launch {thing} by {draw.choice(DAYS)}?",
        news=news.format(company=company, thing=thing),
        yes_price=draw.randint(35, 65) / 100,
        balance=draw.randint(10, 99) * 10,
        good=good,
        unseen=lines is UNSEEN_LINES,
        yes=yes,
    )
