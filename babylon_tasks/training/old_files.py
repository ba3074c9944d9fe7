"""Delete what is no longer needed from a lineage's data folder; never outside of it."""

from __future__ import annotations

from collections.abc import Callable, Collection
from pathlib import Path

from msgspec import Struct

from babylon_tasks.errors import BackendUnavailable, TrainingError
from babylon_tasks.faults import fault_of
from babylon_tasks.training.checkpoints import OPTIMIZER, SET_ASIDE, remove, steps_on_disk
from babylon_tasks.training.data_folder import folder_id
from babylon_tasks.training.unfinished import unfinished

_TRASH = ".pruned-"


class OldFiles(Struct, frozen=True):
    """Checkpoints, optimizer states of checkpoints, and data of ended steps, by number.

    ``set_aside``: the folders of checkpoints that were set aside, or never finished.
    """

    checkpoints: list[int]
    optimizers: list[int]
    steps: list[int]
    size: int  # bytes
    set_aside: list[str] = []


class DataFolder:
    """The data folder of one lineage, as ART and our worker write it.

    Raises BackendUnavailable unless it is the folder with this id, and a link in it that leads
    elsewhere is not followed.
    """

    def __init__(self, data_dir: Path, project: str, lineage: str, known_id: str | None) -> None:
        found = folder_id(data_dir, lineage)
        if known_id is None or found != known_id:
            raise BackendUnavailable(
                f"BABYLON_DATA_DIR {data_dir} is not the data folder of lineage {lineage}; "
                "nothing was pruned; run it where the gpu-worker runs"
            )
        self._root = data_dir.resolve()
        self._checkpoints = self._inside(data_dir / project / "models" / lineage / "checkpoints")
        self._set_aside = self._inside(self._checkpoints.with_name(SET_ASIDE))
        self._steps = self._inside(data_dir / lineage / "steps")

    def steps(self) -> list[int]:
        """List the steps, by the ids of their rows, whose data lie here."""
        if not self._steps.is_dir():
            return []
        names = [path.name for path in self._steps.iterdir()]
        return sorted(int(name) for name in names if name.isascii() and name.isdigit())

    def unfinished(self) -> list[str]:
        """List the folders of checkpoints that ART began and never finished; newest first."""
        return unfinished(self._set_aside)

    def find(
        self,
        pruned: Collection[int],
        no_optimizer: Collection[int],
        ended: Collection[int],
        set_aside: Collection[str] = (),
    ) -> OldFiles:
        """Find what lies here of these: pruned checkpoints, optimizer states, ended steps, and
        folders of checkpoints that were set aside."""
        here = steps_on_disk(self._checkpoints)
        checkpoints = [step for step in here if step in set(pruned)]
        optimizers = [
            step for step in here if step in set(no_optimizer) and self._optimizer(step) is not None
        ]
        steps = [step for step in self.steps() if step in set(ended)]
        aside = [
            name
            for name in set_aside
            if Path(name).name == name and (self._set_aside / name).is_dir()
        ]
        paths = [
            *(self._set_aside / name for name in aside),
            *(self._at(step) for step in checkpoints),
            *(self._at(step) / OPTIMIZER for step in optimizers),
            *(self._steps / str(step) for step in steps),
        ]
        return OldFiles(checkpoints, optimizers, steps, sum(map(_size, paths)), aside)

    def delete(self, old: OldFiles) -> None:
        """Delete what was found; whatever an earlier call has begun to delete goes as well.

        Goes on where one cannot be deleted, and then raises TrainingError.
        """
        failed: list[OSError] = []
        for step in old.checkpoints:
            _attempt(failed, self._hide, self._at(step))
        for trash in self._checkpoints.glob(f"{_TRASH}*"):
            _attempt(failed, remove, trash)
        for step in old.optimizers:
            _attempt(failed, remove, self._at(step) / OPTIMIZER)
        for name in old.set_aside:
            _attempt(failed, remove, self._set_aside / name)
        for step in old.steps:
            _attempt(failed, remove, self._steps / str(step))
        if failed:
            raise TrainingError(
                f"{len(failed)} old files in {self._root} cannot be deleted, such as "
                f"{failed[0]}; nothing needs them, the next call tries again",
                fault=fault_of(failed[0]),
            )

    def _hide(self, checkpoint: Path) -> None:
        # Invisible to the trainer at once; deleting takes longer.
        trash = self._checkpoints / f"{_TRASH}{checkpoint.name}"
        remove(trash)
        checkpoint.rename(trash)

    def _at(self, step: int) -> Path:
        return self._checkpoints / f"{step:04d}"

    def _optimizer(self, step: int) -> Path | None:
        """Return a checkpoint's optimizer state; not through a link, which may lead elsewhere."""
        path = self._at(step) / OPTIMIZER
        return path if path.is_file() and not self._at(step).is_symlink() else None

    def _inside(self, path: Path) -> Path:
        if not path.resolve().is_relative_to(self._root):
            raise BackendUnavailable(
                f"{path} leads out of BABYLON_DATA_DIR, to {path.resolve()}; nothing was pruned: "
                "old checkpoints there are deleted by hand"
            )
        return path


def _attempt(failed: list[OSError], act: Callable[[Path], object], path: Path) -> None:
    try:
        act(path)
    except FileNotFoundError:  # another process was faster
        pass
    except OSError as error:
        failed.append(error)


def _size(path: Path) -> int:
    try:
        if path.is_symlink() or not path.is_dir():
            return path.lstat().st_size
        return sum(_size(one) for one in path.iterdir())
    except OSError:  # another process deletes it
        return 0
