"""Checkpoint folders in ART's layout: numbers, content hashes, and what made each of them."""

from __future__ import annotations

import hashlib
import os
import re
import shutil
from pathlib import Path

import msgspec

from babylon_tasks.records import StepResult

# Not isdigit(): that is true of "²", too, which is no number.
STEP_FOLDER = re.compile(r"[0-9]{1,9}")
_RECORD = "step.json"


def newest_step(checkpoints: Path) -> int:
    """Find the highest step that has a folder, 0 where there is none: ART's own rule."""
    if not checkpoints.exists():
        return 0
    names = (path.name for path in checkpoints.iterdir())
    return max((int(name) for name in names if STEP_FOLDER.fullmatch(name)), default=0)


def adapter_hash(folder: Path) -> str | None:
    """Hash a checkpoint's weights (SHA-256); None where it has none."""
    weights = folder / "adapter_model.safetensors"
    return hashlib.sha256(weights.read_bytes()).hexdigest() if weights.exists() else None


def write_record(folder: Path, result: StepResult) -> None:
    """Store beside the weights what made them, to recover from a crash before the commit."""
    scratch = folder / f".{_RECORD}"
    scratch.write_bytes(msgspec.json.encode(result))
    sync(scratch)
    scratch.rename(folder / _RECORD)
    sync(folder)


def read_record(folder: Path) -> StepResult | None:
    """Read what ``write_record`` stored; None if the trainer died before it could."""
    path = folder / _RECORD
    return msgspec.json.decode(path.read_bytes(), type=StepResult) if path.exists() else None


def room(data_dir: Path, lineage: str) -> str:
    """Say how much of the disk is free, and how much the lineage's largest checkpoint takes."""
    try:
        free = shutil.disk_usage(data_dir).free
        folders = data_dir.glob(f"*/models/{lineage}/checkpoints/[0-9]*")
        sizes = [sum(one.stat().st_size for one in folder.glob("*")) for folder in folders]
    except OSError as error:  # another process removes one, or the folder cannot be read
        return f"how much is free is unknown: {error.strerror}"
    largest = f"; a checkpoint takes {max(sizes) / 2**20:.1f} MiB" if sizes else ""
    return f"{free / 2**20:.1f} MiB are free in {data_dir}{largest}"


def sync(path: Path) -> None:
    """Flush a file's or folder's content to disk."""
    descriptor = os.open(path, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)
