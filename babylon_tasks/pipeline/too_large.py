"""A step that does not fit into memory gives way to a smaller one, so that its lineage goes on.

Want of memory uses up no attempt of a window: others may use the machine's for a while. But the
same groups may never fit, and an unfinished step comes before any other. A step whose trainer is
killed each time is one that does not fit: what killed it need not say why (a limit that counts no
kill, an orchestrator that evicts).
"""

from __future__ import annotations

from babylon_tasks.dataset.manifest import GroupEntry, from_row
from babylon_tasks.db import out_of_memory
from babylon_tasks.db.fail_step import RefusedGroup
from babylon_tasks.db.session import session
from babylon_tasks.db.steps import Step
from babylon_tasks.faults import Fault
from babylon_tasks.pipeline.run_step import StepInterrupted, StepRunner
from babylon_tasks.reasons import Reason, Stage
from babylon_tasks.records import Rejection


def gives_way(run: StepRunner, step: Step, broken: StepInterrupted) -> str | None:
    """Say why a step is to fail, and be planned again in halves; None where it may be run again.

    A job at W&B has a memory that is not ours.
    """
    if not broken.fault.may_be_memory or run.remote:
        return None
    with session(run.settings) as connection:
        runs = 1 + out_of_memory.runs(connection, step.id)
    if runs < run.settings.max_attempts:
        return None
    groups = len(from_row(step.manifest).groups)
    short = broken.fault is Fault.OUT_OF_MEMORY
    what = "did not fit into memory" if short else "did not fit, or its trainer was killed,"
    return f"{what} {runs} times with {groups} groups, last: {broken.why}"


def refused(run: StepRunner, step: Step, why: str) -> RefusedGroup | None:
    """Refuse the only group of a step if it did not fit before, and another step has since."""
    groups = from_row(step.manifest).groups
    if len(groups) > 1:
        return None
    with session(run.settings) as connection:
        if not out_of_memory.others_fit(connection, step.id):
            return None
    return _of_group(groups[0], f"its group, alone in a step, {why}")


def _of_group(group: GroupEntry, why: str) -> RefusedGroup:
    return RefusedGroup(
        group.window,
        group.members[0].reward_version,
        [
            Rejection(one.trajectory_id, Stage.DATASET, Reason.OUT_OF_MEMORY, why)
            for one in group.members
        ],
    )
