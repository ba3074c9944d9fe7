"""What a trainer's failure or end is to its worker: an error with the fault and what to look at."""

from __future__ import annotations

from pathlib import Path

from babylon_tasks import errors
from babylon_tasks.errors import TrainerDied, TrainingError
from babylon_tasks.faults import Fault, fault_of, fault_of_exit
from babylon_tasks.mask_secrets import Mask
from babylon_tasks.settings import Settings
from babylon_tasks.training.checkpoints import room
from babylon_tasks.training.child import last_lines
from babylon_tasks.training.protocol import RequestFailed

_LONGEST = 2000  # cut after it has been masked: of half a secret nobody knows that it is one


def not_started(error: OSError, log_path: Path) -> TrainingError:
    """Make the error of a process that cannot be started."""
    return TrainingError(
        f"the trainer cannot be started: {error}; see {log_path}",
        fault=of_environment(fault_of(error)),
    )


def of_environment(fault: Fault) -> Fault:
    """Return the fault of a failed start: no window's, whatever the error says."""
    return Fault.TRAINER_CANNOT_START if fault is Fault.WINDOW else fault


def reported(settings: Settings, reply: RequestFailed) -> TrainingError:
    """Make the error that a trainer has reported, of its class where that is one of ours."""
    known = getattr(errors, reply.error, TrainingError)
    kind = known if issubclass(known, TrainingError) else TrainingError
    return kind(_with_room(settings, reply.message, reply.fault)[:_LONGEST], fault=reply.fault)


def ended(
    settings: Settings, how: str, signal: int | None, log_path: Path, *, memory_was_short: bool
) -> TrainerDied:
    """Make the error of a process that has ended, by a signal or by itself.

    ``memory_was_short``: the kernel has killed for want of memory since its start.
    """
    fault = None if signal is None else fault_of_exit(signal, memory_was_short=memory_was_short)
    if fault is Fault.OUT_OF_MEMORY:
        how += ", and the kernel has killed for want of memory"
    message = f"the trainer {how}; the last lines of {log_path}: {last_lines(log_path)}"
    return TrainerDied(_with_room(settings, message, fault), fault=fault)


def _with_room(settings: Settings, message: str, fault: Fault | None) -> str:
    message = Mask(settings).text(message)  # of a library, a server or a log: it is stored
    if fault is not Fault.DISK_FULL:
        return message
    return f"{message}; {room(settings.data_dir, settings.lineage)}"
