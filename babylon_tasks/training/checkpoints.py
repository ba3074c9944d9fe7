"""Checkpoint folders in ART's layout: numbers, content hashes, and what made each of them."""

from __future__ import annotations

import hashlib
import os
import shutil
import sys
from pathlib import Path

import msgspec

from babylon_tasks.policy_names import step_number
from babylon_tasks.step_records import StepResult

WEIGHTS = "adapter_model.safetensors"
CONFIG = "adapter_config.json"
OPTIMIZER = "optimizer.pt"
SET_ASIDE = "set-aside"  # the folder beside the checkpoints, for those not verified
_LOADED = (WEIGHTS, CONFIG, OPTIMIZER)  # what a step or an answer is made with
RECORD = "step.json"


def steps_on_disk(checkpoints: Path) -> list[int]:
    """List the steps that have a folder, in order."""
    if not checkpoints.exists():
        return []
    numbers = (step_number(path.name) for path in checkpoints.iterdir() if path.is_dir())
    return sorted(number for number in numbers if number is not None)


def newest_step(checkpoints: Path) -> int:
    """Find the highest step that has a folder, 0 where there is none: ART's own rule."""
    return max(steps_on_disk(checkpoints), default=0)


def adapter_hash(folder: Path) -> str | None:
    """Hash a checkpoint's weights (SHA-256); None where it has none."""
    weights = folder / WEIGHTS
    return hash_file(weights) if weights.exists() else None


def hash_files(folder: Path) -> dict[str, str]:
    """Hash each file of a checkpoint that is ever loaded: name to SHA-256."""
    return {name: hash_file(folder / name) for name in _LOADED if (folder / name).exists()}


def hash_file(path: Path) -> str:
    """Hash a file (SHA-256), in bounded memory; raises OSError."""
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def write_record(folder: Path, result: StepResult) -> None:
    """Store beside the weights what made them, to recover from a crash before the commit."""
    scratch = folder / f".{RECORD}"
    scratch.write_bytes(msgspec.json.encode(result))
    sync(scratch)
    scratch.rename(folder / RECORD)
    sync(folder)


def read_record(folder: Path) -> StepResult | None:
    """Read what ``write_record`` stored; None if the trainer died before it could, or it is torn.

    A committed checkpoint does not need it, and an uncommitted one is set aside without it. Raises
    OSError where it is there and cannot be read: what made the checkpoint is not known then.
    """
    path = folder / RECORD
    try:
        return msgspec.json.decode(path.read_bytes(), type=StepResult)
    except FileNotFoundError:
        return None
    except (msgspec.DecodeError, UnicodeDecodeError) as error:
        print(f"{path} cannot be decoded and is ignored: {error}", file=sys.stderr, flush=True)
        return None


def remove(path: Path) -> None:
    """Remove a folder and what is in it, or a file or link in its place; never a link's target."""
    if path.is_symlink() or path.is_file():
        path.unlink()
    elif path.exists():
        shutil.rmtree(path)


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
