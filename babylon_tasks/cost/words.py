"""Costs in words."""

from __future__ import annotations

from babylon_tasks.cost.ledger import Ledger, PromotionCost
from babylon_tasks.cost.spending import Total


def dollars(money: float | None) -> str:
    """Format money; small sums with as many digits as say something."""
    if money is None:
        return "not known"
    short = f"{money:.2g}"
    in_cents = abs(money) >= 1 or float(short) == round(money, 2)
    return f"${money:,.2f}" if in_cents else f"${short}"


def in_words(found: Ledger) -> str | None:
    """Say in a line what it has cost, and what of it is not known; None where nothing is on record.

    The last promotion that gained something says what a hundredth of the objective has cost.
    """
    if not found.kinds:
        return None
    kinds = ", ".join(f"{kind} {dollars(one.money)}" for kind, one in found.kinds.items())
    gained = next((one for one in reversed(found.promotions) if one.for_a_hundredth), None)
    return f"cost: {dollars(found.total.money)} ({kinds}){_gained(gained)}{_lacks(found.total)}"


def _gained(promotion: PromotionCost | None) -> str:
    if promotion is None:
        return ""
    price = dollars(promotion.for_a_hundredth)
    return f"; step {promotion.step} gained 0.01 of the objective for {price}"


def _lacks(total: Total) -> str:
    named = ", ".join(f"{count} {reason}" for reason, count in total.lacks.items())
    return f"; not in it: {named}" if named else ""
