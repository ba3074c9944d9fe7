"""Checkpoints that ART began to write and never finished, because its process was ended.

ART writes a checkpoint into its folder file by file, and starts from the newest folder: one that is
cut short would keep every later trainer from starting.
"""

from __future__ import annotations

import itertools
import json
import re
import sys
from contextlib import suppress
from pathlib import Path

from babylon_tasks.training.checkpoints import (
    CONFIG,
    SET_ASIDE,
    WEIGHTS,
    newest_step,
    read_record,
    remove,
    sync,
)

_KEPT = 3  # the newest ones, for whoever looks for what ended their processes
_NAME = re.compile(r"(\d{4,})-unfinished-\d+")


def set_unfinished_aside(checkpoints: Path) -> int | None:
    """Move the newest checkpoint aside if it was never finished; returns its number.

    One with the record of what made it was finished, whatever has become of its files since.
    Raises OSError where a file is there and cannot be read: nothing is known then, and it stays.
    """
    step = newest_step(checkpoints)
    folder = checkpoints / f"{step:04d}"
    if not folder.is_dir() or read_record(folder) is not None or _is_whole(folder):
        return None
    aside = checkpoints.with_name(SET_ASIDE)
    aside.mkdir(exist_ok=True)
    names = (f"{step:04d}-unfinished-{number}" for number in itertools.count(1))
    moved = next(aside / name for name in names if not (aside / name).exists())
    folder.rename(moved)
    sync(aside)
    for old in unfinished(aside)[_KEPT:]:
        with suppress(OSError):  # the trainer starts without
            remove(aside / old)
    print(
        f"checkpoint {step} was never finished, its process was ended: it is set aside as {moved}, "
        f"which nothing needs; the newest {_KEPT} such are kept, until `babylon-tasks prune "
        "--set-aside`",
        file=sys.stderr,
        flush=True,
    )
    return step


def unfinished(aside: Path) -> list[str]:
    """List the folders of such checkpoints among those set aside, newest first."""
    found = [one for one in aside.glob("*-unfinished-*") if _NAME.fullmatch(one.name)]
    return [one.name for one in sorted(found, key=lambda one: one.lstat().st_mtime, reverse=True)]


def step_of(folder: str) -> int:
    """Return the number that an unfinished checkpoint had."""
    return int(folder.partition("-")[0])


def _is_whole(folder: Path) -> bool:
    """Check that the files can be read to their end, as safetensors and JSON; raises OSError."""
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
    except (FileNotFoundError, ValueError, LookupError, TypeError, AttributeError):
        return False
