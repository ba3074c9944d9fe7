"""``status``: the state of the system."""

from __future__ import annotations

import time
from datetime import datetime
from typing import Annotated, NoReturn

import typer
from msgspec import Struct, to_builtins

from babylon_tasks.cli.answers import compared_answers
from babylon_tasks.cli.context import begin, database
from babylon_tasks.cli.gateway_checks import remedy, text_only
from babylon_tasks.cli.output import AsJson, as_json, out, say, show
from babylon_tasks.cli.screen import describe, screen_report
from babylon_tasks.cli.steps import decision_in_short, step_in_short
from babylon_tasks.db import clock, reports, screens
from babylon_tasks.db.reports import SystemState
from babylon_tasks.db.reward_versions import WaitingForOutcomes
from babylon_tasks.db.screens import Screen
from babylon_tasks.errors import DatabaseError
from babylon_tasks.pipeline.begin_comparison import ComparisonOutlook, comparison_outlook
from babylon_tasks.pipeline.promotion_outlook import PromotionOutlook, promotion_outlook
from babylon_tasks.registry import budget
from babylon_tasks.registry.budget import BudgetState
from babylon_tasks.settings import Settings

WATCH_SECONDS = 2.0


def register(app: typer.Typer) -> None:
    """Add this file's command."""
    app.command()(status)


class _Look(Struct, frozen=True):
    """What one look at the database found."""

    now: datetime
    system: SystemState
    promotion: PromotionOutlook
    comparison: ComparisonOutlook
    screens: list[Screen]
    budget: BudgetState | None


def status(
    watch: Annotated[
        bool, typer.Option("--watch", help=f"Look again every {WATCH_SECONDS:.0f} s until Ctrl-C.")
    ] = False,
    json: AsJson = False,
) -> None:
    """Show the state of the system, from Postgres alone.

    With --watch a terminal shows the newest state alone; elsewhere one follows the other.
    JSON: {lineage: {name, base_model, backend, head_step, serving_step, inference_base_url,
    leased, ...} or null, circuits: [{name, fault, faults, reason, opened_at, next_try_at, paused}]
    that are open, pause: {id, comparison_id, window, reason, actor, paused_at} after too many
    rollbacks, or null, windows: {state: n}, unopened: [{reason, count, first, last}], oldest_due,
    outcomes: {windows, to_score_anew, next_window, next_until, names}, step_in_work, last_step,
    last_decision,
    failed: [{window, reason}], others: [lineage], captures: {window, captured, exact, joined,
    tempered, others, control, examinee} of the newest hour that was trained or skipped, or null
    where the gateway captured nothing in it, newest_captures: {captured, text_only, lacks},
    set_aside: [{id, step, folder, why, set_aside_at}] of checkpoints that could not be verified,
    tripped: as in `tripwires list --open`}; windows, oldest_due and failed are as the lineage of
    BABYLON_LINEAGE sees them. In outcomes: how many windows wait for markets to end, and which
    one's wait ends first. Besides promotion: {mode, why, lacks, todo}, what a checkpoint must
    show before it serves, comparison: {newest, text, lacks: {lack, text, todo} or null}, where it
    stands, and screen: as `screen` prints it, the newest one of the newest
    checkpoint, or null. budget: {budget, hours, spent: as a total of `cost`, until or null} where
    BABYLON_BUDGET is set, or null; no step is planned until then.
    """
    if watch and json:
        raise typer.BadParameter("--watch is for people: ask for --json as often as you like")
    settings = begin()
    if watch:
        _watch(settings)
    found = _look(settings)
    if json:
        last = screen_report(found.screens[0]) if found.screens else None
        more = {"promotion": found.promotion, "comparison": found.comparison, "screen": last}
        as_json(to_builtins(found.system) | more | {"budget": found.budget})
        return
    _show(settings, found)


def _watch(settings: Settings) -> NoReturn:
    """Show the state again and again, also when the database has been away."""
    while True:
        try:
            found = _look(settings)
        except DatabaseError as error:
            say(str(error))
        else:
            if out.is_terminal:
                out.clear()
            show(f"{found.now:%F %T} UTC, again every {WATCH_SECONDS:.0f} s; Ctrl-C ends it")
            _show(settings, found)
        time.sleep(WATCH_SECONDS)


def _look(settings: Settings) -> _Look:
    with database(settings) as connection:
        system = reports.system_state(connection, settings.lineage)
        head = 0 if system.lineage is None else system.lineage.head_step
        return _Look(
            now=clock.now(connection),
            system=system,
            promotion=promotion_outlook(connection, settings),
            comparison=comparison_outlook(connection, settings),
            screens=screens.of_step(connection, settings.lineage, head, limit=1),
            budget=budget.read(connection, settings),
        )


def _show(settings: Settings, found: _Look) -> None:
    _show_system(settings, found.system)
    show(f"promotion: {found.promotion.text}")
    compared = found.comparison
    running = compared.newest is not None and compared.newest.ended_at is None
    show(compared.text if running else f"comparison: {compared.text}")
    if found.budget is not None:
        lacks = found.budget.not_counted
        more = "" if lacks is None else f"; not counted: {lacks}"
        show(f"budget: {found.budget.text}{more}")
    for screen in found.screens:
        show(describe(settings.lineage, screen))


def _show_system(settings: Settings, system: SystemState) -> None:
    name, lineage = settings.lineage, system.lineage
    if lineage is None:
        show(f"lineage {name}: no worker has served or trained it yet")
    else:
        at_work = f", {lineage.lease_owner} is working on it" if lineage.leased else ""
        show(f"lineage {name} on {lineage.base_model} ({lineage.backend}){at_work}")
        address = lineage.inference_base_url or "no address yet"
        show(f"serving step {lineage.serving_step} of {lineage.head_step} at {address}")
        if lineage.trouble is not None:
            show(f"checkpoints: {lineage.trouble}")
    for aside in system.set_aside:
        show(
            f"set aside: checkpoint {aside.step} on {aside.set_aside_at:%F %T}, in {aside.folder}: "
            f"{aside.why}; `babylon-tasks prune --set-aside` deletes it"
        )
    if system.others:
        names = ", ".join(system.others)
        show(f"other lineages here: {names}; BABYLON_LINEAGE=NAME babylon-tasks status shows one")
    for circuit in system.circuits:
        show(
            f"paused: {circuit.name} since {circuit.opened_at:%F %T} after {circuit.faults} "
            f"faults in a row ({circuit.fault}): {circuit.reason}; tries again at "
            f"{circuit.next_try_at:%F %T}, or at once after `babylon-tasks circuit reset`"
        )
    if system.pause is not None:
        show(f"paused: {system.pause.text}")
    counted = (f"{n} {state}" for state, n in system.windows.items() if n)
    show(
        "windows: "
        + (", ".join(counted) or "none yet; beat opens the hours that agents record into")
    )
    for unopened in system.unopened:
        show(f"not opened: {unopened.what}; {unopened.todo}")
    if system.oldest_due is not None:
        due = system.oldest_due
        show(f"oldest unfinished: {due.window}, {due.state} since {due.since:%F %T}")
    _show_pending(system.outcomes)
    for trip in system.tripped:
        show(
            f"tripped: {trip.window}: {trip.kind}: {trip.what}; it is not trained on: fix the "
            f"cause, or `babylon-tasks tripwires accept {trip.window}`"
        )
    if system.step_in_work is not None:
        show("running: " + step_in_short(system.step_in_work))
    if system.last_step is not None:
        show("last: " + step_in_short(system.last_step))
    if system.last_decision is not None:
        decision = system.last_decision
        show(f"decision: {decision_in_short(decision)}")
        for line in compared_answers(decision.figures.get("answers", {})):
            show(line)
    text = text_only(system.newest_captures)
    if text is not None:
        show(f"gateway: {text}")
    if system.captures is not None:
        found = system.captures
        show(
            f"gateway: of {found.window} it captured {found.captured} answers, {found.exact} of "
            f"them exact; {found.joined} were joined to recorded calls"
        )
        if found.others:
            show(f"gateway: other servers gave {found.others} answers in it")
        if found.control or found.examinee:
            show(f"arms: {found.control} control, {found.examinee} examinee")
        todo = remedy(found, settings)
        if todo is not None:
            show(f"gateway: {todo}")
    for failed in system.failed:
        show(
            f"failed: {failed.window}: {failed.reason}; "
            f"`babylon-tasks windows retry {failed.window}`"
        )


def _show_pending(pending: WaitingForOutcomes) -> None:
    if pending.windows:
        named = ", ".join(pending.names) or "outcomes that have arrived since"
        show(
            f"windows that wait for outcomes: {pending.windows}; the next, {pending.next_window}, "
            f"until {pending.next_until:%F %H:%M} for {named}"
        )
    if pending.to_score_anew:
        show(f"windows to be scored anew: {pending.to_score_anew}")
