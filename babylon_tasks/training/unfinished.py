"""Checkpoints that ART began to write and never finished, because its process was ended.

ART writes a checkpoint into its folder file by file, and starts from the newest folder: one that is
cut short would keep every later trainer from starting.
"""

from __future__ import annotations

import json
import sys
from pathlib import Path

from babylon_tasks.training.checkpoints import CONFIG, WEIGHTS, newest_step, read_record, remove


def remove_unfinished(checkpoints: Path) -> int | None:
    """Remove the newest checkpoint if it was never finished; returns its number.

    One with the record of what made it was finished, whatever has become of its files since.
    """
    step = newest_step(checkpoints)
    folder = checkpoints / f"{step:04d}"
    if not folder.is_dir() or read_record(folder) is not None or _is_whole(folder):
        return None
    print(
        f"checkpoint {step} was never finished, its process was ended: {folder} is removed",
        file=sys.stderr,
        flush=True,
    )
    trash = checkpoints / f".unfinished-{step:04d}"
    remove(trash)
    folder.rename(trash)  # gone at once; deleting takes longer
    remove(trash)
    return step


def _is_whole(folder: Path) -> bool:
    """Check that the files can be read to their end, as safetensors and JSON."""
    try:
        json.loads((folder / CONFIG).read_bytes())
        weights = folder / WEIGHTS
        with weights.open("rb") as file:
            length = int.from_bytes(file.read(8), "little")
            if length > weights.stat().st_size:
                return False
            header = json.loads(file.read(length))
        ends = [one["data_offsets"][1] for name, one in header.items() if name != "__metadata__"]
        return weights.stat().st_size == 8 + length + max(ends, default=0)
    except (OSError, ValueError, LookupError, TypeError, AttributeError):
        return False
