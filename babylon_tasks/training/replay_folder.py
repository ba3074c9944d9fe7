"""A data folder for one replay: copies of the checkpoints that it needs, never the lineage's own.

Copies, not links: a trainer deletes the optimizer's state of checkpoints that it needs no more.
"""

from __future__ import annotations

import shutil
from collections.abc import Collection
from pathlib import Path

from babylon_tasks.owned_folder import make_owned_folder
from babylon_tasks.step_records import CommittedCheckpoint
from babylon_tasks.training.checkpoints import CONFIG, OPTIMIZER, WEIGHTS, newest_step
from babylon_tasks.training.committed import CommittedCheckpoints

_PREFIX = "babylon-tasks-replay-"  # what a killed replay leaves is removed by the next one


class ReplayFolder:
    """A temporary data folder beside the lineage's, which is only read; removed at its end."""

    def __init__(
        self,
        data_dir: Path,
        project: str,
        lineage: str,
        committed: Collection[CommittedCheckpoint],
    ) -> None:
        self.committed = {one.step: one for one in committed}
        self.path = make_owned_folder(_PREFIX)
        place = Path(project) / "models" / lineage / "checkpoints"
        self._theirs = data_dir / place
        self._ours = self.path / place
        self._ours.mkdir(parents=True)
        self._known = CommittedCheckpoints(self._theirs)
        self._known.expect(committed)

    def __enter__(self) -> ReplayFolder:
        return self

    def __exit__(self, *_: object) -> None:
        shutil.rmtree(self.path, ignore_errors=True)

    def missing(self, step: int) -> str | None:
        """Say why a checkpoint's weights cannot be started from; None where they can."""
        if step == 0:
            return None
        if step not in self.committed:
            return f"checkpoint {step} is pruned"
        return self._known.damage(step)

    def has_optimizer(self, step: int) -> bool:
        """Whether the optimizer's state that a checkpoint was committed with is still there.

        A supervised step leaves none.
        """
        return step == 0 or self._without_state(step) or self._known.optimizer_damage(step) is None

    def take(self, step: int, *, optimizer: bool = True) -> None:
        """Copy a checkpoint; raises OSError, as where it is pruned meanwhile."""
        if step == 0:
            return
        state = optimizer and not self._without_state(step)
        names = (WEIGHTS, CONFIG, OPTIMIZER) if state else (WEIGHTS, CONFIG)
        target = self.checkpoint(step)
        target.mkdir(exist_ok=True)
        for name in names:
            shutil.copyfile(self._theirs / f"{step:04d}" / name, target / name)

    def _without_state(self, step: int) -> bool:
        files = self.committed[step].files if step in self.committed else {}
        return CONFIG in files and OPTIMIZER not in files

    def stand_in(self, base_step: int) -> None:
        """Make ``base_step`` the newest number, where steps in between were not taken."""
        if newest_step(self._ours) < base_step:
            self.checkpoint(base_step).mkdir()

    def checkpoint(self, step: int) -> Path:
        """Return the folder of a checkpoint of the replay."""
        return self._ours / f"{step:04d}"

    def original(self, step: int) -> Path | None:
        """Return the lineage's weights of a step; None where they are not here as committed."""
        return None if self.missing(step) else self._theirs / f"{step:04d}" / WEIGHTS
