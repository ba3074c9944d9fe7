"""Files of the newest checkpoint are damaged or gone, while it may serve or be trained from."""

from __future__ import annotations

import shutil
import signal
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import psutil
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
def weights_cut_under_a_restart(system: System) -> Iterator[None]:
    """The newest checkpoint's weights are cut in half, and the GPU worker restarted."""
    _cut_in_half(_newest(system, harmed=True) / WEIGHTS)
    yield from _restarted(system)


@contextmanager
def data_folder_made_anew(system: System) -> Iterator[None]:
    """The data folder is deleted under its trainer, and made anew from a copy."""
    former = until("a trainer lives", system.trainer)
    folder = system.on_disk(system.stack.settings.data_dir.absolute())
    runs = former.status() != psutil.STATUS_STOPPED
    former.suspend()  # nobody writes while it is copied
    system.signal_worker("gpu-worker", signal.SIGSTOP)
    with tempfile.TemporaryDirectory() as copy:
        shutil.copytree(folder, copy, symlinks=True, dirs_exist_ok=True)
        for path in folder.iterdir():
            shutil.rmtree(path) if path.is_dir() else path.unlink()
        shutil.copytree(copy, folder, symlinks=True, dirs_exist_ok=True)
    system.signal_worker("gpu-worker", signal.SIGCONT)
    if runs:
        former.resume()
    yield
    until("the trainer of the deleted folder has ended", lambda: not former.is_running())


@contextmanager
def record_torn(system: System) -> Iterator[None]:
    """The newest checkpoint's `step.json` is cut in half, as after a loss of power."""
    _cut_in_half(_newest(system) / "step.json")
    yield


@contextmanager
def record_torn_under_a_restart(system: System) -> Iterator[None]:
    """The newest checkpoint's `step.json` is cut in half, and the GPU worker restarted."""
    _cut_in_half(_newest(system) / "step.json")
    yield from _restarted(system)


def _restarted(system: System) -> Iterator[None]:
    system.kill("gpu-worker")
    yield
    system.start("gpu-worker")


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


def _cut_in_half(path: Path) -> None:
    path.write_bytes(path.read_bytes()[: path.stat().st_size // 2])


def _flip_a_byte(path: Path) -> None:
    with path.open("r+b") as file:
        file.seek(path.stat().st_size // 2)
        byte = file.read(1)
        file.seek(-1, 1)
        file.write(bytes([byte[0] ^ 1]))
