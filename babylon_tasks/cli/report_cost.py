"""What a report says of costs: by kind, step and promotion. Pure."""

from __future__ import annotations

from collections.abc import Iterator

from babylon_tasks.cli.html_page import paragraphs, table, text
from babylon_tasks.cli.report_links import Links
from babylon_tasks.cost.ledger import Ledger, PromotionCost, StepCost
from babylon_tasks.cost.words import dollars

_NEWEST = 24


def costs(found: Ledger, links: Links) -> list[str]:
    """Write the tables of kinds, newest promotions and newest steps."""
    if not found.kinds:
        return ["<p>Nothing is on record that costs anything yet.</p>"]
    kinds = (
        (text(kind), dollars(one.money), f"{one.seconds / 3600:.2f}", str(one.count))
        for kind, one in found.kinds.items()
    )
    return [
        *table(("kind", "dollars", "hours", "how many"), kinds),
        *paragraphs(_lacks(found)),
        *_promotions(found.promotions[::-1][:_NEWEST], links),
        *_steps(found.steps[::-1][:_NEWEST], links),
        "<p>By the prices that are set; answers to agents are not in it. "
        "<code>babylon-tasks cost</code> has all.</p>",
    ]


def _lacks(found: Ledger) -> Iterator[str]:
    for reason, count in found.total.lacks.items():
        yield f"Not in it: {count} {reason}."


def _promotions(newest: list[PromotionCost], links: Links) -> list[str]:
    if not newest:
        return []
    return table(
        ("promoted", "learning until then", "objective gained", "for 0.01 of it"),
        (_promotion(one, links) for one in newest),
    )


def _promotion(one: PromotionCost, links: Links) -> tuple[str, ...]:
    promoted = "none since" if one.step is None else links.step(one.step, f"step {one.step}")
    gain = "-" if one.gain is None else f"{one.gain:+.4f}"
    price = one.for_a_hundredth
    return promoted, dollars(one.total.money), gain, "-" if price is None else dollars(price)


def _steps(newest: list[StepCost], links: Links) -> list[str]:
    if not newest:
        return []
    return table(("step", "dollars", "by window"), (_step(one, links) for one in newest))


def _step(one: StepCost, links: Links) -> tuple[str, ...]:
    parts = (one.windows or {}).items()
    windows = "<br>".join(f"{links.window(window)} {dollars(money)}" for window, money in parts)
    name = f"{links.step(one.step, str(one.step))} ({text(one.state)})"
    return name, dollars(one.total.money), windows or "-"
