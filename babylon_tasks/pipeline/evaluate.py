"""Evaluate the newest checkpoint on held-out windows; promote or hold it, and record why.

After refusals in a row what served before is looked at too.
"""

from __future__ import annotations

import structlog
from msgspec import structs
from structlog.contextvars import bind_contextvars

from babylon_tasks.actions import GateAction
from babylon_tasks.dataset import diversity, held_out
from babylon_tasks.db import arms, changed_rows, lineages, old_rows, promotions
from babylon_tasks.db.scored_trajectories import held_out_groups
from babylon_tasks.db.session import Connection, session
from babylon_tasks.errors import CannotEvaluate, CheckpointDamaged, TrainerDied, TrainingError
from babylon_tasks.pipeline import load_groups
from babylon_tasks.pipeline.checkpoint_figures import ComparedCheckpoints, figures_of
from babylon_tasks.pipeline.record_decision import record_decision
from babylon_tasks.pipeline.results import GateResult
from babylon_tasks.pipeline.start_trainer import find_damaged, start_trainer
from babylon_tasks.pipeline.undecided_head import idle, refused_before, undecided_head
from babylon_tasks.records import Group
from babylon_tasks.registry import look_back, promotion_gate, refusals, serving
from babylon_tasks.registry.promotion_gate import GateDecision
from babylon_tasks.settings import Settings
from babylon_tasks.training.base import TrainerLike
from babylon_tasks.training.protocol import OnProgress
from babylon_tasks.training.step_numbers import numbered
from babylon_tasks.training.trainer_start import TrainerReady

log = structlog.get_logger(__name__)


def evaluate(
    settings: Settings,
    trainer: TrainerLike,
    *,
    actor: str,
    on_progress: OnProgress | None = None,
) -> GateResult:
    """Evaluate the lineage's head; safe to call at any time, alone or concurrently.

    Where evaluation is impossible, the gate gets no values. Where it is only impossible here and
    now (another trainer, a full disk, a damaged checkpoint), nothing is decided and it is tried
    again. Raises TrainerDied, DatabaseError.
    """
    with session(settings) as connection:
        found = undecided_head(connection, settings)
        if isinstance(found, GateResult):
            return found
        head, current = found.head, found.serving
        draw = refusals.count(connection, settings.lineage, current).fives
        groups = held_out_set(connection, settings, actor=actor, draw=draw)
        compared = ComparedCheckpoints(head, current, groups, held_out.set_hash(groups))
        before = refused_before(connection, settings, found, set_hash=compared.set_hash)
        if before is not None:
            return before
    bind_contextvars(lineage=settings.lineage, step=head)
    trainer = numbered(settings, trainer)
    try:
        if len(groups) >= settings.min_eval_groups:
            require_both(settings, trainer, head, current, actor=actor)
        decision = _decide(settings, trainer, compared, on_progress or (lambda _: None))
    except TrainerDied:
        raise
    except TrainingError as error:
        log.warning("evaluation.postponed", why=str(error))
        return idle(head, current, f"not evaluated, to be retried: {error}")
    result = record_decision(
        settings,
        decision.decision,
        head=head,
        current=current,
        reason=decision.reason,
        figures=decision.figures | {"set_hash": compared.set_hash},
        actor=actor,
    )
    if result.action is not GateAction.HELD or "refused" not in decision.figures:
        return result
    served = _look_back(settings, trainer, compared, on_progress or (lambda _: None), actor=actor)
    return structs.replace(result, serving=served)


def _look_back(
    settings: Settings,
    trainer: TrainerLike,
    compared: ComparedCheckpoints,
    on_progress: OnProgress,
    *,
    actor: str,
) -> int:
    """After refusals in a row, return to what served before if that is worth more today.

    Returns what serves then. Arms have their comparison, which decides.
    """
    lineage, current = settings.lineage, compared.serving
    with session(settings) as connection:
        refused = refusals.count(connection, lineage, current).refused
        if not look_back.is_due(refused) or arms.steps(connection, lineage):
            return current
        parents = lineages.parents(connection, lineage)
        asked = look_back.choose_earlier(current, parents, promotions.servable(connection, lineage))
        committed = tuple(lineages.checkpoints(connection, lineage))
    try:
        asked = [step for step in asked if not find_damaged(trainer, committed, step)]
        scores = figures_of(settings, trainer, compared, {current, *asked}, on_progress)
    except TrainerDied:
        raise
    except TrainingError as error:
        why = f"after {refused} refusals earlier checkpoints could not be looked at: {error}"
        log.warning("evaluation.postponed", why=why)
        return current
    found = look_back.find_better(
        scores[current],
        [scores[step] for step in asked],
        held_out.places(compared.groups),
        settings,
        diversity.answers(compared.groups),
    )
    if found is None:
        return current
    with session(settings) as connection:
        moved = serving.go_back(
            connection,
            lineage,
            found.step,
            instead_of=current,
            reason=f"{refused} steps in a row were refused, and {found.reason}",
            figures=found.figures | {"set_hash": compared.set_hash},
            actor=actor,
        )
    if not moved:
        return current
    log.info("checkpoint.restored", serving=found.step, reason=found.reason)
    return found.step


def held_out_set(
    connection: Connection, settings: Settings, *, actor: str, draw: int = 0
) -> tuple[Group, ...]:
    """Read the groups that checkpoints are evaluated on, whichever policy answered, by hour and
    key. Another ``draw`` takes others of the past, where the budget is too small for all.

    Windows in which Babylon has rewritten rows are marked to be scored anew.
    """
    offered = held_out_groups(connection, old_rows.HELD_OUT_WINDOWS)
    versions = {(group.window, group.key): group.reward_version for group in offered}
    ordered = held_out.order(
        ((group.window, group.key, group.members, group.spread) for group in offered),
        settings.max_group_size,
        settings.min_reward_spread,
        draw=draw,
    )
    groups: list[Group] = []
    tokens = 0
    rewritten: set[str] = set()
    for window, key, part in ordered:
        if window in rewritten:
            continue  # its other groups are likely affected too, and all of them would be read
        held_out_group = load_groups.held_out_group(
            connection, settings, window, versions[window, key], key, part
        )
        if held_out_group.changed:
            rewritten.add(window)
            with connection.transaction():
                changed_rows.mark_changed(
                    connection,
                    window,
                    held_out_group.changed,
                    lineage=settings.lineage,
                    actor=actor,
                )
        group = held_out_group.group
        cost = 0 if group is None else held_out.tokens(group)
        if group is None or cost > settings.max_eval_tokens:
            continue
        if len(groups) >= settings.min_eval_groups and tokens + cost > settings.max_eval_tokens:
            break
        groups.append(group)
        tokens += cost
    return tuple(sorted(groups, key=lambda group: (group.window_id, group.key)))


def require_both(settings: Settings, trainer: TrainerLike, *steps: int, actor: str) -> TrainerReady:
    """Raise TrainingError unless this worker has the trainer, and the checkpoints are whole."""
    ready = start_trainer(settings, trainer, actor=actor)
    with session(settings) as connection:
        committed = tuple(lineages.checkpoints(connection, settings.lineage))
    damaged = find_damaged(trainer, committed, *steps)
    if damaged:
        raise CheckpointDamaged("; ".join(damaged.values()))
    return ready


def _decide(
    settings: Settings,
    trainer: TrainerLike,
    compared: ComparedCheckpoints,
    on_progress: OnProgress,
) -> GateDecision:
    if len(compared.groups) < settings.min_eval_groups:
        return promotion_gate.too_few_groups(len(compared.groups), settings)
    with session(settings) as connection:
        before = _earlier(connection, settings, compared.serving)
        committed = tuple(lineages.checkpoints(connection, settings.lineage))
    wanted = {compared.head, compared.serving}
    if before is not None and not find_damaged(trainer, committed, before):
        wanted.add(before)
    try:
        scores = figures_of(settings, trainer, compared, wanted, on_progress)
    except CannotEvaluate as error:
        log.warning("evaluation.failed", error=str(error))
        return promotion_gate.without_evaluation(
            f"no evaluation: {error}", {"groups": len(compared.groups)}
        )
    return promotion_gate.decide(
        scores[compared.head],
        scores[compared.serving],
        None if before is None else scores.get(before),
        held_out.places(compared.groups),
        settings,
        diversity.answers(compared.groups),
    )


def _earlier(connection: Connection, settings: Settings, serving: int) -> int | None:
    """Find the checkpoint that small losses would add up against, if it still exists."""
    parents = lineages.parents(connection, settings.lineage)
    return promotion_gate.earlier(
        serving, parents, promotions.servable(connection, settings.lineage)
    )
