"""``cost``: what a lineage has cost, by kind, step, window and promotion."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any, TypeVar

import typer
from msgspec import to_builtins

from babylon_tasks.cli.context import begin, database
from babylon_tasks.cli.moments import Since, since_hour
from babylon_tasks.cli.output import LISTED, AsJson, as_json, say, show, table
from babylon_tasks.cost.ledger import Ledger, PromotionCost, StepCost, WindowCost, ledger
from babylon_tasks.cost.spending import Total
from babylon_tasks.cost.words import dollars
from babylon_tasks.db import costs

_Row = TypeVar("_Row")


def register(app: typer.Typer) -> None:
    """Add this file's command."""
    app.command()(cost)


def cost(
    since: Since = None,
    json: AsJson = False,
) -> None:
    """Show what the lineage has cost, in US dollars, by the prices that are set now.

    What was not recorded or has no price is named, and is in no sum (docs/cost.md). The tables have
    the newest ten of each.
    JSON: {lineage, since or null, prices, total, kinds: {training|judge|screens|answers: total},
    steps: [{step, state, total, windows: {window: money} or null}], windows: [{window, money,
    lacks}], promotions: [{step, moment, total, gain, for_a_hundredth}]}, each total {money, lacks:
    {reason: n}, seconds, prompt_tokens, completion_tokens, count}; money is null where none of it
    is known, lacks counts what is not in it, gain is of the objective, and the last promotion has
    step null: what came after the last one.
    """
    settings = begin()
    start = since_hour(settings, since)
    with database(settings) as connection:
        found = ledger(costs.read(connection, settings.lineage, since=start), settings.prices)
    if json:
        as_json(
            {"lineage": settings.lineage, "since": start, "prices": settings.prices}
            | _documented(found)
        )
        return
    when = "" if since is None else f" from {since.text} on"
    if not found.kinds:
        show(f"lineage {settings.lineage}{when}: nothing is on record that costs anything yet")
        return
    show(f"lineage {settings.lineage}{when}: {dollars(found.total.money)}")
    table(
        None,
        ("kind", "money#", "hours#", "prompt tokens#", "answer tokens#"),
        (
            (kind.value, dollars(one.money), _hours(one), one.prompt_tokens, one.completion_tokens)
            for kind, one in found.kinds.items()
        ),
    )
    for reason, count in found.total.lacks.items():
        show(f"not in it: {count} {reason}")
    _newest("steps", ("step", "state", "money#", "hours#", "windows"), found.steps, _step_row)
    _newest("windows", ("window", "money#"), found.windows, _window_row)
    _newest(
        "promotions",
        ("promoted", "when (UTC)", "learning#", "gain#", "for 0.01#"),
        found.promotions,
        _promotion_row,
    )


def _newest(
    what: str,
    columns: Sequence[str],
    rows: Sequence[_Row],
    cells: Callable[[_Row], tuple[object, ...]],
) -> None:
    if not rows:
        return
    show("")
    table(None, columns, (cells(one) for one in reversed(rows[-LISTED:])))
    if len(rows) > LISTED:
        say(f"the newest {LISTED} of {len(rows)} {what}; --json has all")


def _step_row(one: StepCost) -> tuple[object, ...]:
    parts = one.windows or {}
    windows = " ".join(f"{window} {dollars(money)}" for window, money in parts.items())
    return one.step, one.state, dollars(one.total.money), _hours(one.total), windows or "-"


def _window_row(one: WindowCost) -> tuple[object, ...]:
    return one.window, dollars(one.money)


def _promotion_row(one: PromotionCost) -> tuple[object, ...]:
    step = "none since" if one.step is None else f"step {one.step}"
    price = one.for_a_hundredth
    return (
        step,
        one.moment,
        dollars(one.total.money),
        None if one.gain is None else f"{one.gain:+.4f}",
        None if price is None else dollars(price),
    )


def _hours(one: Total) -> str:
    return f"{one.seconds / 3600:.3f}" if one.seconds else "-"


def _documented(found: Ledger) -> dict[str, Any]:
    document: dict[str, Any] = to_builtins(found)
    for made, one in zip(document["promotions"], found.promotions, strict=True):
        made["for_a_hundredth"] = one.for_a_hundredth
    return document
