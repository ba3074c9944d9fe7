"""Files of the newest checkpoint are damaged or gone, while it may serve or be trained from."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from acceptance.faults.system import System
from acceptance.harness import until

from babylon_tasks.training.checkpoints import OPTIMIZER, WEIGHTS


@contextmanager
def weights_damaged(system: System) -> Iterator[None]:
    """A byte of the newest checkpoint's weights flips."""
    _flip_a_byte(_newest(system, harmed=True) / WEIGHTS)
    yield


@contextmanager
def weights_missing(system: System) -> Iterator[None]:
    """The newest checkpoint's weights are gone."""
    (_newest(system, harmed=True) / WEIGHTS).unlink()
    yield


@contextmanager
def optimizer_damaged(system: System) -> Iterator[None]:
    """A byte of the newest checkpoint's optimizer state flips."""
    _flip_a_byte(_newest(system) / OPTIMIZER)
    yield


@contextmanager
def record_torn(system: System) -> Iterator[None]:
    """The newest checkpoint's `step.json` is cut in half, as after a loss of power."""
    record = _newest(system) / "step.json"
    record.write_bytes(record.read_bytes()[: record.stat().st_size // 2])
    yield


def _newest(system: System, *, harmed: bool = False) -> Path:
    newest = (
        "SELECT uri, clock_timestamp() AS now FROM training.checkpoints WHERE step > 0"
        " ORDER BY step DESC LIMIT 1"
    )
    (row,) = until("there is a checkpoint", lambda: system.rows(newest))
    uri: str = row["uri"]
    if harmed:
        system.harmed[uri] = row["now"]
    return system.on_disk(Path(uri))


def _flip_a_byte(path: Path) -> None:
    with path.open("r+b") as file:
        file.seek(path.stat().st_size // 2)
        byte = file.read(1)
        file.seek(-1, 1)
        file.write(bytes([byte[0] ^ 1]))
