"""Candidates that cannot be inspected for want of memory give way, so that their lineage goes on.

As a step that does not fit (``too_large.py``): others are tried first, and a group is refused by
name once another step was committed meanwhile.
"""

from __future__ import annotations

from babylon_tasks.db import out_of_memory
from babylon_tasks.db.lineages import Lease
from babylon_tasks.db.session import Connection
from babylon_tasks.errors import TrainingError
from babylon_tasks.pipeline.select_groups import InspectGroup
from babylon_tasks.reasons import Reason
from babylon_tasks.records import Group
from babylon_tasks.settings import Settings
from babylon_tasks.training.protocol import Inspected, Refusal


class Inspection:
    """The trainer's inspection of one window's groups, less those that never fit into memory."""

    def __init__(
        self,
        connection: Connection,
        settings: Settings,
        lease: Lease,
        window: str,
        inspect: InspectGroup,
        *,
        actor: str,
    ) -> None:
        self._connection = connection
        self._settings = settings
        self._lease = lease
        self._inspect = inspect
        self._actor = actor
        found = out_of_memory.uninspected(connection, lease.lineage, window)
        self._broken_off = {one.group_key: one for one in found}
        self.most_groups = out_of_memory.most_groups(connection, lease.lineage, window)
        self.alone = bool(found) or self.most_groups is not None  # others may fit without it

    def __call__(self, group: Group, label: str) -> Inspected:
        """Inspect a group, or refuse all of it; raises StaleLease, TrainingError."""
        most = self._settings.max_attempts
        before = self._broken_off.get(group.key)
        if before is not None and before.times >= 2 * most and before.others_fit:
            return Inspected(tuple(_refusals(group, before.times)), ())
        try:
            return self._inspect(group, label)
        except TrainingError as error:
            if error.fault.may_be_memory:
                times = 1 + (0 if before is None else before.times)
                out_of_memory.note_uninspected(
                    self._connection,
                    self._lease,
                    group.window_id,
                    group.key,
                    error,
                    self._settings,
                    waits=times % most == 0,
                    actor=self._actor,
                )
            raise


def _refusals(group: Group, times: int) -> list[Refusal]:
    why = f"its group could not be inspected for want of memory, {times} times"
    return [
        Refusal(member.trajectory_id, number, Reason.OUT_OF_MEMORY, why)
        for member in group.members
        for number, _ in enumerate(member.calls)
    ]
