"""What was committed, compared with what lies on disk before it is loaded."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from pathlib import Path

from babylon_tasks.errors import CheckpointDamaged
from babylon_tasks.step_records import CommittedCheckpoint
from babylon_tasks.training.checkpoints import (
    CONFIG,
    OPTIMIZER,
    WEIGHTS,
    hash_file,
    read_record,
)


class CommittedCheckpoints:
    """A lineage's checkpoints on disk, and the hashes that each was committed with.

    Of a step that nobody has mentioned, the record in its folder counts instead; without one,
    whatever is there.
    """

    def __init__(self, checkpoints: Path) -> None:
        self._checkpoints = checkpoints
        self._files: dict[int, Mapping[str, str]] = {}

    def expect(self, committed: Iterable[CommittedCheckpoint]) -> None:
        """Take over what was committed; it replaces what was known of these steps."""
        self._files |= {one.step: _files(one) for one in committed}

    def forget(self, step: int) -> None:
        """Forget a step that was discarded: its number will have other files."""
        self._files.pop(step, None)

    def damage(self, step: int) -> str | None:
        """Read a checkpoint and say why it must not be loaded; None where it may.

        The optimizer's state does not count: a checkpoint is whole without it.
        """
        if step == 0:
            return None
        try:
            expected = self._expected(step)
        except OSError as error:
            return _unknown(step, error)
        return self._differs(step, WEIGHTS, expected) or self._differs(step, CONFIG, expected)

    def optimizer_damage(self, step: int) -> str | None:
        """Say why the optimizer's state must not be loaded; None where it may."""
        try:
            expected = self._expected(step)
        except OSError as error:
            return _unknown(step, error)
        if CONFIG in expected and OPTIMIZER not in expected:  # all its files are known
            return f"checkpoint {step} was committed without {OPTIMIZER}"
        return self._differs(step, OPTIMIZER, expected)

    def require_intact(self, step: int) -> None:
        """Raise CheckpointDamaged unless what lies on disk may be loaded."""
        damage = self.damage(step)
        if damage is not None:
            raise CheckpointDamaged(f"checkpoint {step} cannot be loaded: {damage}")

    def _expected(self, step: int) -> Mapping[str, str]:
        known = self._files.get(step)
        if known is not None:
            return known
        record = read_record(self._folder(step))
        return {} if record is None else _files(record.as_committed())

    def _differs(self, step: int, name: str, expected: Mapping[str, str]) -> str | None:
        path = self._folder(step) / name
        try:
            found = hash_file(path)
        except OSError as error:
            return f"{path}: {error.strerror or error}"
        wanted = expected.get(name, found)
        if found == wanted:
            return None
        return f"{path} is not what was committed: SHA-256 {found[:12]} instead of {wanted[:12]}"

    def _folder(self, step: int) -> Path:
        return self._checkpoints / f"{step:04d}"


def _unknown(step: int, error: OSError) -> str:
    return f"what was committed as checkpoint {step} is not known: {error}"


def _files(one: CommittedCheckpoint) -> Mapping[str, str]:
    weights = {} if one.content_hash is None else {WEIGHTS: one.content_hash}
    return weights | one.files
