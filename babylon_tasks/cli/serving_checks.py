"""The checks of `doctor` on what a gpu-worker's trainer needs: folder, lease, checkpoint."""

from __future__ import annotations

from collections.abc import Iterator

from babylon_tasks.cli.findings import Finding, finding
from babylon_tasks.db import lineages, trainer_lease
from babylon_tasks.db.session import session
from babylon_tasks.errors import DatabaseError
from babylon_tasks.policy_names import policy_name
from babylon_tasks.settings import Settings
from babylon_tasks.training.committed import CommittedCheckpoints
from babylon_tasks.training.data_folder import lock_name

_ELSEWHERE = "ignore this unless the gpu-worker runs here; run doctor where it runs"


def serving(settings: Settings) -> Iterator[Finding]:
    """Check that the serving and the newest checkpoint lie here as they were committed."""
    try:
        with session(settings, patience=3) as connection:
            lineage = lineages.get(connection, settings.lineage)
            if lineage is None or lineage.backend == "serverless":
                return
            committed = lineages.checkpoints(connection, settings.lineage)
            lease = trainer_lease.current(connection, settings.lineage)
    except DatabaseError:  # another check says so
        return
    data_dir = settings.data_dir.absolute()
    lock = lock_name(data_dir, settings.lineage)
    if lock is not None and lease is not None:
        yield finding(
            "trainer",
            lease.name == lock,
            f"lineage {settings.lineage} is served from "
            f"{'this data folder' if lease.name == lock else 'another data folder'}",
            f"stop one of the two workers, or set another BABYLON_LINEAGE; or {_ELSEWHERE}",
            otherwise="warn",
        )
    here = {one.step for one in committed}  # a discarded head is not
    steps = [
        step for step in dict.fromkeys((lineage.serving_step, lineage.head_step)) if step in here
    ]
    if not steps:
        yield Finding("checkpoint", "ok", "the base model serves")
        return
    folder_id = None if lock is None else lock.partition(":")[0]
    if folder_id is None or lineage.data_folder not in (None, folder_id):
        what = "is not the folder in which" if folder_id is not None else "has no checkpoint of"
        suffix = " was trained" if folder_id is not None else ""
        detail = f"{data_dir} {what} lineage {settings.lineage}{suffix}"
        yield Finding("checkpoint", "warn", detail, _ELSEWHERE)
        return
    files = CommittedCheckpoints(
        data_dir / settings.project / "models" / settings.lineage / "checkpoints"
    )
    files.expect(committed)
    for step in steps:
        damage = files.damage(step)
        name = policy_name(settings.lineage, step)
        yield finding(
            "checkpoint",
            damage is None,
            f"{name} is as it was committed" if damage is None else f"{name}: {damage}",
            "restore its files from a backup; the worker's next start or step rolls back to the "
            "newest whole one",
        )
