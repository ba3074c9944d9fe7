"""Leave the branches that the next step does not start from: end them, and discard them.

A backend that trains on from its newest checkpoint must have lost them before anything is planned.
Whatever ends in between, the next claimant goes on: a branch that is dead and not discarded is one
that is to be.
"""

from __future__ import annotations

import structlog
from msgspec import Struct

from babylon_tasks.db import arms, branches, lineages, set_aside
from babylon_tasks.db.lineages import Lease
from babylon_tasks.db.session import session
from babylon_tasks.pipeline.run_step import StepRunner
from babylon_tasks.policy_names import policy_name
from babylon_tasks.registry import branches as tree
from babylon_tasks.registry import refusals
from babylon_tasks.settings import Settings

log = structlog.get_logger(__name__)


class Left(Struct, frozen=True):
    """The step that the next one starts from, and why it waits; None: it need not."""

    serving: int
    waits: str | None = None


def end_dead_branches(settings: Settings, lease: Lease, *, can_branch: bool, actor: str) -> Left:
    """End what was refused, or came from that, and what never served and has been passed over by
    what serves, but for what an arm has.

    The next step waits while training is paused or the budget is spent, and, where the backend
    cannot branch or the mode is ``proven``, while nobody has decided about another checkpoint.
    Raises StaleLease.
    """
    lineage = lease.lineage
    with session(settings) as connection, connection.transaction():
        serving = lineages.lock_lineage(connection, lease).serving_step
        waits = refusals.why_paused(connection, settings)
        if waits is None:
            waits = refusals.why_undecided(connection, settings, can_branch=can_branch)
        if waits is not None:
            return Left(serving, waits)
        tree.end_others(
            connection,
            lineage,
            [serving, *arms.steps(connection, lineage), *refusals.may_serve(connection, settings)],
            why=f"the next step starts from {policy_name(lineage, serving)}",
            actor=actor,
        )
    return Left(serving)


def discard_dead_branches(run: StepRunner) -> None:
    """Discard at the backend what is dead there, on record; raises StaleLease, TrainingError."""
    lineage = run.lease.lineage
    with session(run.settings) as connection:
        found = branches.to_discard(connection, lineage)
    if not found:
        return
    steps = [one.step for one in found]
    why = f"a dead branch: the next step starts from {policy_name(lineage, found[0].serving)}"
    log.warning("branch.discarded", steps=steps, serving=found[0].serving)
    folder = f"{steps[0]:04d}-dead-lease{run.lease.fencing_token}"
    run.heartbeat.check()
    if not run.remote:
        with session(run.settings) as connection:
            set_aside.add(
                connection,
                lineage,
                steps[0],
                step_id=found[0].step_id,
                folder=folder,
                why=why,
                actor=run.actor,
                stays=False,
            )
    run.trainer.discard_branch(found[0].serving, steps, folder)
    with session(run.settings) as connection, connection.transaction():
        lineages.lock_lineage(connection, run.lease)
        branches.note_discarded(connection, lineage, steps, why=why, actor=run.actor)
