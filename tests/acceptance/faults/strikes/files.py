"""Files of the newest checkpoint are damaged or gone, while it may serve or be trained from."""

from __future__ import annotations

import shutil
import signal
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import datetime
from pathlib import Path

import psutil
from acceptance.faults.system import System
from acceptance.harness import until
from acceptance.outcome import is_answered

from babylon_tasks.training.checkpoints import OPTIMIZER, WEIGHTS

WITHOUT_A_STEP_SECONDS = 60  # the worker looks every 5 s


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
def weights_missing_unasked(system: System) -> Iterator[None]:
    """The newest checkpoint's weights are gone before an agent asks for it; nothing is trained."""
    assert system.agents is not None
    with system.agents.kept_from_asking():
        _restart_trainer(system)  # or it might answer from memory
        (_newest(system, harmed=True) / WEIGHTS).unlink()
        struck = time.monotonic()
    system.agents.await_answer(struck, WITHOUT_A_STEP_SECONDS)
    yield


@contextmanager
def optimizer_damaged(system: System) -> Iterator[None]:
    """A byte of the newest checkpoint's optimizer state flips, and the kernel kills the trainer."""
    (row,) = system.rows("SELECT clock_timestamp() AS now")
    step, before = until("the newest optimizer state is damaged", lambda: _damage_optimizer(system))
    said = _starts_from_scratch(step)
    trainer = until("a trainer lives", system.trainer)
    trainer.kill()  # what it has in memory is whole
    system.to_show.append(
        (
            f"the trainer's log says: {said}",
            lambda: (
                _trainer_log(system).count(said) > before
                or not _begun_from(system, step, row["now"])
            ),
        )
    )
    yield


def _damage_optimizer(system: System) -> tuple[int, int] | None:
    """The step, and how often the trainer had said before that it does without; None: a newer step
    has been committed meanwhile, and the state of this one is gone."""
    folder = _newest(system)
    step = int(folder.name)
    before = _trainer_log(system).count(_starts_from_scratch(step))
    try:
        _flip_a_byte(folder / OPTIMIZER)
    except FileNotFoundError:
        return None
    return step, before


def _starts_from_scratch(step: int) -> str:
    return f"optimizer starts from scratch at step {step}: "


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


def _restart_trainer(system: System) -> None:
    killed = until("a trainer lives", system.trainer)
    killed.kill()
    until(
        "another one serves the base model",
        lambda: system.trainer() not in (None, killed) and is_answered(system, 0),
    )


def _trainer_log(system: System) -> str:
    path = system.on_disk(system.stack.settings.data_dir.absolute() / "trainer.log")
    return path.read_text("utf-8", "replace")


def _begun_from(system: System, parent: int, since: datetime) -> bool:
    """Whether the trainer has begun a step from a checkpoint since then."""
    begun = (
        "SELECT FROM training.steps s JOIN training.events e ON e.step_id = s.id"
        " WHERE s.lineage = %s AND s.parent_step = %s AND e.kind = 'step_running'"
        " AND e.happened_at > %s"
    )
    return bool(system.rows(begun, (system.lineage, parent, since)))


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
