"""Let a backend that trains on from its newest folder start from another checkpoint, on disk.

The dead checkpoint is set aside, and a copy of the parent gets its number, so that no number comes
twice. Whoever opens the folder after a crash ends what was begun.
"""

from __future__ import annotations

import shutil
from pathlib import Path

from babylon_tasks.errors import TrainingError
from babylon_tasks.training.checkpoints import (
    RECORD,
    SET_ASIDE,
    adapter_hash,
    newest_step,
    remove,
    sync,
)

_COPY = ".parent-"


def go_back(checkpoints: Path, parent: int, aside: str) -> bool:
    """Put a copy of the parent in the newest checkpoint's place; returns False if it is there.

    ``aside`` is the name that the newest one gets among those set aside. Raises TrainingError
    without the parent's weights.
    """
    end_begun(checkpoints)
    newest = newest_step(checkpoints)
    source, place = checkpoints / f"{parent:04d}", checkpoints / f"{newest:04d}"
    weights = adapter_hash(source)
    if weights is None:
        raise TrainingError(
            f"checkpoint {newest} was refused, and the next step starts from {parent}, whose "
            f"weights are not in {source}; restore them, or choose a new BABYLON_LINEAGE"
        )
    if adapter_hash(place) == weights:
        return False
    copy = checkpoints / f"{_COPY}{newest:04d}"
    remove(copy)  # cut short by a crash, before anything was moved
    shutil.copytree(source, copy, ignore=shutil.ignore_patterns(RECORD))
    if (place / RECORD).exists():  # of another checkpoint: nobody is answered as that one by this
        shutil.copy(place / RECORD, copy / RECORD)
    for path in copy.iterdir():
        sync(path)
    sync(copy)
    folder = checkpoints.with_name(SET_ASIDE)
    folder.mkdir(exist_ok=True)
    place.rename(folder / aside)
    sync(folder)
    end_begun(checkpoints)
    return True


def end_begun(checkpoints: Path) -> None:
    """Give a copy the number of what was set aside for it; one that is cut short has none yet."""
    for copy in checkpoints.glob(f"{_COPY}*"):
        place = checkpoints / copy.name.removeprefix(_COPY)
        if not place.exists():
            copy.rename(place)
            sync(checkpoints)
