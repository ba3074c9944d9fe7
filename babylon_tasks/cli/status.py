"""``status`` and ``why``: the state of the system, and every event of one window."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Annotated, Any

import typer
from msgspec import structs, to_builtins

from babylon_tasks import step_metrics
from babylon_tasks.cli.context import begin, database
from babylon_tasks.cli.gateway_checks import remedy, text_only
from babylon_tasks.cli.output import AsJson, as_json, cell, out, show, table
from babylon_tasks.cli.screen import describe, screen_report
from babylon_tasks.cli.trajectory import show_trajectory
from babylon_tasks.cli.tripwires import sentence
from babylon_tasks.db import lineages, pauses, reports, screens, unopened_windows
from babylon_tasks.db.reports import StepReport, SystemState, WindowHistory
from babylon_tasks.db.reward_versions import RewardVersion, WaitingForOutcomes
from babylon_tasks.db.trajectory_history import trajectory_history
from babylon_tasks.pipeline.begin_comparison import comparison_outlook
from babylon_tasks.pipeline.promotion_outlook import promotion_outlook
from babylon_tasks.settings import Settings
from babylon_tasks.states import StepMethod, WindowState
from babylon_tasks.windows import is_window_id

# States in which later outcomes still count.
_UNFINISHED = (WindowState.SCORED, WindowState.TRAINING, WindowState.HELD_OUT)


def register(app: typer.Typer) -> None:
    """Add this file's commands."""
    for command in (status, why):
        app.command()(command)


def status(json: AsJson = False) -> None:
    """Show the state of the system, from Postgres alone.

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
    checkpoint, or null.
    """
    settings = begin()
    with database(settings) as connection:
        found = reports.system_state(connection, settings.lineage)
        outlook = promotion_outlook(connection, settings)
        compared = comparison_outlook(connection, settings)
        head = 0 if found.lineage is None else found.lineage.head_step
        newest = screens.of_step(connection, settings.lineage, head, limit=1)
    if json:
        last = screen_report(newest[0]) if newest else None
        as_json(to_builtins(found) | {"promotion": outlook, "comparison": compared, "screen": last})
        return
    _show_system(settings, found)
    show(f"promotion: {outlook.text}")
    running = compared.newest is not None and compared.newest.ended_at is None
    show(compared.text if running else f"comparison: {compared.text}")
    for screen in newest:
        show(describe(settings.lineage, screen))


def why(
    window: Annotated[
        str,
        typer.Argument(
            metavar="WINDOW|TRAJECTORY", help="A UTC hour, e.g. 2026-01-31T09:00, or an id."
        ),
    ],
    json: AsJson = False,
) -> None:
    """Show every event of a window, in order, with its results; or what became of a trajectory.

    JSON of a trajectory: {trajectory_id, window, account, detail, scores, rejections, uses}.
    JSON of a window: {window, trouble, waits_for: [market], reward_versions: [{version, scored_at,
    scored, right_share, profit_mean, used, because, came: {market: yes, no, a change in percent, or
    null}}], events: [{happened_at, kind, actor, lineage, target_step, detail}], rejections:
    [{stage, reason, count, example, detail}], uses: {use: n}, steps, evaluations, lineages:
    [{lineage, state, reason, training_attempts, left_over, trained_at}], empty where the database
    has one, tripwires: as in `tripwires list`, the oldest first}. The window's state and rejections
    are as the lineage of BABYLON_LINEAGE sees them.
    """
    settings = begin()
    with database(settings) as connection:
        if not is_window_id(window):
            found = trajectory_history(connection, window, lineage=settings.lineage)
            if found is not None:
                as_json(found) if json else show_trajectory(found)
                return
            unopened_windows.refuse(connection, window)
        history = reports.history(connection, window, lineage=settings.lineage)
        lineage = lineages.get(connection, settings.lineage)
        paused = pauses.in_force(connection, settings.lineage)
    if lineage is not None and history.window.state in _UNFINISHED:
        history = structs.replace(history, trouble=lineage.trouble)
    if json:
        as_json(history)
    else:
        _show_history(history)
        if paused is not None and history.window.state in _UNFINISHED:
            show(paused.text)


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
    show("windows: " + (", ".join(counted) or "none yet"))
    for unopened in system.unopened:
        show(f"not opened: {unopened.what}; {unopened.todo}")
    if system.oldest_due is not None:
        due = system.oldest_due
        show(f"oldest unfinished: {due.window}, {due.state} since {due.since:%F %T}")
    _show_pending(system.outcomes)
    for trip in system.tripped:
        show(
            f"tripped: {trip.window}: {trip.kind}: {trip.what}; it is not trained on: mend the "
            f"cause, or `babylon-tasks tripwires accept {trip.window}`"
        )
    if system.step_in_work is not None:
        show("running: " + _step(system.step_in_work))
    if system.last_step is not None:
        show("last: " + _step(system.last_step))
    if system.last_decision is not None:
        decision = system.last_decision
        show(f"decision: {decision.decision} step {decision.to_step}: {decision.reason}")
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


def _show_history(history: WindowHistory) -> None:
    window = history.window
    reason = f" ({window.reason})" if window.reason else ""
    idle = window.why_idle if window.state in _UNFINISHED else None
    and_idle = "" if idle is None else f" and {idle}"
    show(f"{window.window_id} is {window.state}{reason}{and_idle}")
    if window.state is WindowState.FAILED and window.scored_at is None:
        show(f"none of its rows is scored; `babylon-tasks windows retry {window.window_id}`")
    for one in history.lineages:
        done = f" ({one.reason})" if one.reason else ""
        show(f"for lineage {one.lineage} it is {one.state}{done}")
    if history.trouble is not None:
        show(f"the lineage's checkpoints: {history.trouble}")
    if history.waits_for and window.state in _UNFINISHED:
        show(f"outcomes not known yet: {', '.join(history.waits_for)}")
    if len(history.reward_versions) > 1:  # a single one is covered by the events below
        for version in history.reward_versions:
            show(_version(version))
    events = (
        (
            event.happened_at,
            _headline(event.kind, event.target_step),
            _detail(event.detail),
            event.actor,
        )
        for event in history.events
    )
    table(None, ("when (UTC)", "what", "detail", "who"), events)
    if history.rejections:
        out.print()
        rejected = ((r.count, r.reason, r.stage, r.example, r.detail) for r in history.rejections)
        table("not used", ("n#", "reason", "stage", "for example", "detail"), rejected)
    for trip in history.tripwires:
        show(f"tripwire {sentence(trip)}")
    if history.uses:
        show("used up: " + cell(history.uses))
    for step in history.steps:
        show(_step(step))
    for found in history.evaluations:
        show(
            f"step {found.step} has value {found.value:.3f} on {found.groups} held-out groups "
            f"(recorded answers cover {found.coverage:.2f})"
        )


def _version(made: RewardVersion) -> str:
    parts = [f"reward version {made.version} of {made.scored_at:%F %T}: {made.scored} scored"]
    if made.because is not None:
        came = f": {cell(made.came)}" if made.came else ""
        parts.append(f"made since {made.because}{came}")
    if made.used:
        parts.append(f"{made.used} used")
    return "; ".join(filter(None, parts))


def _headline(kind: str, step: int | None) -> str:
    return kind if step is None else f"{kind} {step}"


def _detail(detail: Mapping[str, Any]) -> str:
    return cell({name: value for name, value in detail.items() if value not in (None, {}, [])})


def _step(step: StepReport) -> str:
    supervised = step.method is StepMethod.SUPERVISED
    kind = "supervised step" if supervised else "step"
    in_short = step_metrics.supervised_in_short if supervised else step_metrics.in_short
    parts = [f"{kind} {step.target_step} from {step.base_step} is {step.state}"]
    parts.append(f"windows {', '.join(step.windows)}")
    if step.gradient_steps is not None:
        parts.append(f"{step.gradient_steps} gradient steps, {step.trainable_tokens} tokens")
        parts.append(in_short(step.metrics or {}))
    elif step.progress:
        parts.append(_detail(step.progress))
    parts.append(step_metrics.moved_in_short(step.metrics or {}, counts=not step.error))
    if step.attempts > 1:
        parts.append(f"attempt {step.attempts}")
    if step.error:
        parts.append(step.error)
    return "; ".join(filter(None, parts))
