"""A lineage's ``history.jsonl``, as ART writes it: one line for each committed step, in order.

ART appends; it knows nothing of commits. A line of ours names its step under ``COMMITTED``, so
that what is missing after a crash is found by the newest one.
"""

from __future__ import annotations

import json
from collections.abc import Iterable
from pathlib import Path
from typing import Any

from babylon_tasks.training.protocol import LoggedStep

COMMITTED = "train/committed_step"


class StepHistory:
    """The history of ART's ``model``; only one process may write it."""

    def __init__(self, model: Any) -> None:
        self._model = model
        self._folder = Path(model._get_output_dir())
        self._newest: int | None = None  # None: to be read

    def newest(self) -> int:
        """Return the newest step that has a line, 0 for none; a line that was cut off goes."""
        if self._newest is None:
            self._newest = _newest(self._folder / "history.jsonl")
        return self._newest

    async def add(self, steps: Iterable[LoggedStep]) -> list[LoggedStep]:
        """Let ART write a line for each step that has none yet; returns these steps."""
        added = []
        for one in steps:
            if one.step <= self.newest():
                continue
            self._newest = None  # read again where the line fails
            _drop_damaged(self._folder / "state.json")
            await self._model.log(metrics=line(one), split="train", step=one.step)
            self._newest = one.step
            added.append(one)
        return added


def line(one: LoggedStep) -> dict[str, float]:
    """Return what ART logs of a step."""
    return {**one.metrics, COMMITTED: float(one.step)}


def _newest(path: Path) -> int:
    try:
        content = path.read_bytes()
    except FileNotFoundError:
        return 0
    whole = content[: content.rfind(b"\n") + 1]
    if len(whole) < len(content):  # its writer ended, or the disk was full
        with path.open("r+b") as history:
            history.truncate(len(whole))
    found = (_committed(raw) for raw in whole.splitlines())
    return max((step for step in found if step is not None), default=0)


def _committed(raw: bytes) -> int | None:
    try:
        step = json.loads(raw)[COMMITTED]
    except (ValueError, LookupError, TypeError):  # not ours
        return None
    return int(step) if isinstance(step, float | int) else None


def _drop_damaged(state: Path) -> None:
    """Delete ART's running sums if they were cut off: ART could log nothing any more."""
    try:
        json.loads(state.read_bytes())
    except FileNotFoundError:
        return
    except ValueError:
        state.unlink()
