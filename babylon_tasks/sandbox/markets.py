"""The miniature Babylon: its hours, and seeded markets whose headline hints at the outcome. Pure.

Every window has as many rising as falling tickers, so that no constant answer pays. A model of
135 million parameters answers the questions no better than a coin at first, and can learn to: it
must read the headline, and answer only Yes or No.
"""

from __future__ import annotations

import random
from collections.abc import Iterator
from dataclasses import dataclass
from datetime import UTC, datetime
from itertools import accumulate, count

from babylon_tasks.errors import SandboxError
from babylon_tasks.windows import WINDOW, is_held_out, window_id, window_start

# Told what news does to prices, the base model's middle layers tell headlines apart that they were
# never fitted to, and agents learn in fewer windows (docs/learning.md).
SYSTEM_PROMPT = "You trade stocks. Good news lifts a price, bad news lowers it. Answer Yes or No."
STAKE = 100.0
# An unreadable order costs a fee: about what a wrong one loses.
UNREADABLE_FEE = 70.0

# Hours in the past, so that a demo does not depend on the date.
_FIRST_HOUR = datetime(2025, 1, 1, tzinfo=UTC)
_SEARCHED_HOURS = 10_000
_BALANCED_HOURS = 200

_TICKERS = (
    "ACME", "ORCA", "VOLT", "PINE", "NOVA", "ECHO", "FERN", "KITE",
    "LYNX", "MOSS", "ONYX", "PEAK", "RUNE", "SAGE", "TIDE", "WREN",
)  # fmt: skip
_HELD_OUT_TICKERS = ("BOLT", "CRUX", "DUNE", "FLUX", "GROVE", "HAZE", "IRIS", "JADE")
# Of several phrasings a policy learns what they have in common; of two it learns the two.
_RISING = (
    "is up {percent}% and rising",
    "jumped {percent}% and keeps climbing",
    "rose {percent}% since noon",
    "advances by {percent}%, buyers everywhere",
    "climbs {percent}% on good news",
    "rallied {percent}% and stays strong",
    "firms by {percent}% as orders pour in",
    "leaps {percent}% after a takeover bid",
    "extends its run by {percent}%",
    "gets {percent}% stronger, analysts cheer",
    "bounces {percent}% after a strong quarter",
    "picks up {percent}%, ahead of the market",
    "heads north by {percent}%",
    "strengthens {percent}% as sales improve",
    "shoots up {percent}% on a big order",
    "inches up by {percent}%",
    "improves {percent}%, investors are happy",
    "moves forward {percent}% with profits",
    "is {percent}% above its opening price",
    "wakes up: {percent}% in an hour",
)
_FALLING = (
    "is down {percent}% and falling",
    "dropped {percent}% and keeps sliding",
    "fell {percent}% since noon",
    "retreats by {percent}%, sellers everywhere",
    "sinks {percent}% on bad news",
    "declined {percent}% and stays weak",
    "eases by {percent}% as orders stop",
    "tumbles {percent}% after a lawsuit",
    "extends its slide by {percent}%",
    "gets {percent}% weaker, analysts worry",
    "stumbles {percent}% after a weak quarter",
    "yields {percent}%, behind the market",
    "heads south by {percent}%",
    "weakens {percent}% as sales suffer",
    "crashes {percent}% on a cancelled order",
    "inches down by {percent}%",
    "worsens {percent}%, investors are upset",
    "falls back {percent}% with debts",
    "is {percent}% below its opening price",
    "breaks down: {percent}% in an hour",
)
# That many, since one that is misread is a tenth of a direction, and not half of it.
_UNSEEN_RISING = (
    "gained {percent}% and is still going up",
    "soars: plus {percent}% today",
    "adds {percent}% and hits a new high",
    "trades {percent}% higher than yesterday",
    "surges: best day in weeks, {percent}%",
    "grows {percent}% as demand increases",
    "beats forecasts and wins {percent}%",
    "recovers {percent}% after a bright report",
    "hits a record, {percent}% more than last week",
    "in demand: {percent}% dearer than yesterday",
)
_UNSEEN_FALLING = (
    "lost {percent}% and is still going down",
    "slumps: minus {percent}% today",
    "sheds {percent}% and hits a new low",
    "trades {percent}% lower than yesterday",
    "plunges: worst day in weeks, {percent}%",
    "shrinks {percent}% as demand decreases",
    "misses forecasts and cedes {percent}%",
    "loses {percent}% after a dull report",
    "hits a trough, {percent}% less than last week",
    "in trouble: {percent}% cheaper than yesterday",
)


@dataclass(frozen=True)
class Market:
    """One prediction market; ``rises`` is what its headline hints at.

    It is the outcome too, unless the market ends in ``surprise``. ``phrasing`` is the headline's.
    """

    id: str
    ticker: str
    question: str
    yes_price: float
    rises: bool
    surprise: bool = False
    phrasing: str = ""

    @property
    def yes(self) -> bool:
        """The outcome."""
        return self.rises != self.surprise


def hours(lineage: str, held_out_share: float, count: int) -> list[str]:
    """List the windows to play, in order; always the same for a lineage.

    The first two are held out, since no checkpoint can be evaluated without them. After them, any
    first few contain at most twice the held-out share, so even a short demo has windows to train
    on. A shorter demo plays the first windows of a longer one. Raises SandboxError if none fit.
    """
    known = range(_SEARCHED_HOURS + 2 + max(count, _BALANCED_HOURS))
    windows = [window_id(_FIRST_HOUR + number * WINDOW) for number in known]
    kept = [is_held_out(window, lineage, held_out_share) for window in windows]
    for first in range(_SEARCHED_HOURS):
        if kept[first] and kept[first + 1] and _teaches(kept[first + 2 :], held_out_share):
            return windows[first : first + count]
    raise SandboxError(
        f"none of {_SEARCHED_HOURS} hours begins with two held-out ones of {lineage} at a share of "
        f"{held_out_share}; choose another seed"
    )


def all_hours(lineage: str, held_out_share: float) -> Iterator[str]:
    """List the windows to play as ``hours`` does, without an end."""
    (first,) = hours(lineage, held_out_share, 1)
    return (window_id(window_start(first) + number * WINDOW) for number in count())


def _teaches(kept: list[bool], share: float) -> bool:
    counted = enumerate(accumulate(kept[:_BALANCED_HOURS]), start=1)
    return all(held_out <= 2 * share * hours for hours, held_out in counted)


def window_markets(seed: int, number: int, count: int, *, opposite: bool = False) -> list[Market]:
    """Draw the markets of the ``number``-th window, half of them rising; repeatable by seed.

    ``opposite``: the world has turned over, and headlines hint at the contrary.
    """
    draw = random.Random(f"{seed}/window/{number}")
    tickers = draw.sample(_TICKERS, k=min(count, len(_TICKERS)))
    made = [
        _market(draw, f"m-{seed}-{number}-{index}", ticker, index % 2 == 0, opposite=opposite)
        for index, ticker in enumerate(tickers)
    ]
    draw.shuffle(made)
    return made


def held_out_markets(
    seed: int, count: int, *, opposite: bool = False, unseen: bool = False
) -> list[Market]:
    """Draw markets on tickers that no window has, for the final evaluation.

    ``unseen``: in phrasings that no window has, either, each as often as any other.
    """
    draw = random.Random(f"{seed}/held-out")
    known = [(_RISING, _FALLING)]
    unknown = [((up,), (down,)) for up, down in zip(_UNSEEN_RISING, _UNSEEN_FALLING, strict=True)]
    phrasings = unknown if unseen else known
    return [
        _market(
            draw,
            f"h-{seed}-{index}",
            draw.choice(_HELD_OUT_TICKERS),
            index % 2 == 0,
            opposite=opposite,
            phrasings=phrasings[index // 2 % len(phrasings)],
        )
        for index in range(count)
    ]


def _market(
    draw: random.Random,
    market_id: str,
    ticker: str,
    rises: bool,
    *,
    opposite: bool,
    phrasings: tuple[tuple[str, ...], tuple[str, ...]] = (_RISING, _FALLING),
) -> Market:
    rising, falling = phrasings
    price = draw.randint(40, 60)
    phrasing = draw.choice(rising if rises != opposite else falling)
    headline = phrasing.format(percent=draw.randint(2, 9))
    question = (
        f"News: {ticker} {headline}. YES costs 0.{price}. Will {ticker} close higher? "
        "Answer Yes or No."
    )
    return Market(market_id, ticker, question, price / 100, rises, phrasing=phrasing)


def read_answer(text: str) -> bool | None:
    """Read Yes as True and No as False, by the answer's first word; None if it is neither."""
    words = text.split()
    return {"YES": True, "NO": False}.get(words[0].strip(".,:;!?*'\"").upper()) if words else None


def profit(market: Market, answer: bool | None) -> float:
    """Compute what an answer earned: its stake buys shares that pay 1 each if right."""
    if answer is None:
        return -UNREADABLE_FEE
    price = market.yes_price if answer else 1 - market.yes_price
    return STAKE * (1 - price) if answer == market.yes else -STAKE * price
