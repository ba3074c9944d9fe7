"""Every error this project raises on purpose.

BabylonTasksError
├── SettingsError            a setting is missing or contradicts another
├── DatabaseError
│   ├── MigrationError       the schema is not what the code expects
│   ├── DatabaseUnavailable  the server did not answer
│   ├── DatabaseRefuses      the server takes no writes, or no connections, now
│   └── AnotherVersion       a row has what only the version that wrote it can read
├── WindowError
│   ├── BadWindowId          not ``YYYY-MM-DDTHH:00``
│   ├── WindowNotFound       no such window in ``training.windows``
│   └── ScoringFailed        the scorer itself failed: a bug, not a bad row
├── IllegalTransition        a state change that the transition table forbids
├── StaleLease               a newer claimant has the lease: stop and discard
├── TrainingError
│   ├── TrainerDied          the trainer process ended by signal, exit code or silence
│   ├── BackendUnavailable   the chosen backend cannot run here
│   │   └── AnotherTrainer   another trainer serves and trains the lineage
│   ├── CannotEvaluate       no evaluation is possible, now or later
│   └── CheckpointDamaged    a checkpoint's files are not what was committed
├── BrokerUnavailable        Redis did not take a message
├── NothingServes            no trainer has served the lineage yet
├── CheckpointNotFound       promote, rollback or an arm names a step that is not there
│   └── CheckpointRefused    it is there and cannot be taken: pruned, or it serves
├── NotInstalled             an optional package is missing
└── SandboxError             an embedded server did not start
    └── FolderInUse          another process has the data folder

To add one: subclass the nearest node, document in the docstring when it is raised, put into the
message what happened, to which window or step, and what the operator does next, and set its
``fault`` unless it is the window's own (``faults.py``).
"""

from __future__ import annotations

from babylon_tasks.faults import Fault


class BabylonTasksError(Exception):
    """Base of all errors that this project raises on purpose.

    ``fault`` is a class's own, or a single error's: ``TrainingError(text, fault=...)``.
    """

    fault = Fault.WINDOW

    def __init__(self, *args: object, fault: Fault | None = None) -> None:
        super().__init__(*args)
        if fault is not None:
            self.fault = fault


class SettingsError(BabylonTasksError):
    """A setting is missing or contradicts another one."""

    fault = Fault.MISCONFIGURED


class DatabaseError(BabylonTasksError):
    """The database refused or misses something."""


class MigrationError(DatabaseError):
    """The schema is not what the code expects."""

    fault = Fault.SCHEMA


class DatabaseUnavailable(DatabaseError):
    """The database server did not answer."""

    fault = Fault.CONNECTION_LOST


class DatabaseRefuses(DatabaseError):
    """The database server takes no writes, or no connections, now."""

    fault = Fault.DATABASE_REFUSES


class AnotherVersion(DatabaseError):
    """A row of ours has what only the version that wrote it can read; other rows are as ever."""

    fault = Fault.SCHEMA


class WindowError(BabylonTasksError):
    """A window cannot be acted on."""


class BadWindowId(WindowError, ValueError):
    """A window id is not ``YYYY-MM-DDTHH:00``."""


class WindowNotFound(WindowError, LookupError):
    """No such window in ``training.windows``."""


class ScoringFailed(WindowError):
    """Scoring failed for another reason than a bad row; its claim has been released."""


class IllegalTransition(BabylonTasksError):
    """A state change that the transition table forbids."""


class StaleLease(BabylonTasksError):
    """A newer claimant has the lease; the owner of this one stops and discards its work."""

    fault = Fault.LEASE_LOST


class TrainingError(BabylonTasksError):
    """A training step did not succeed."""


class TrainerDied(TrainingError):
    """The trainer process ended by signal, by exit code, or fell silent."""


class BackendUnavailable(TrainingError):
    """The chosen training backend cannot run on this machine."""

    fault = Fault.MISCONFIGURED


class AnotherTrainer(BackendUnavailable):
    """Another trainer serves and trains the lineage; this one has changed nothing."""


class CannotEvaluate(TrainingError):
    """Neither now nor later: the backend has no means, or these rows or weights allow no value."""


class CheckpointDamaged(TrainingError):
    """A checkpoint's files are missing, unreadable or not what was committed."""

    fault = Fault.FILE_DAMAGED


class BrokerUnavailable(BabylonTasksError):
    """Redis did not take a message; Postgres still has what it was about."""

    fault = Fault.BROKER_REFUSES


class NothingServes(BabylonTasksError):
    """No trainer has served the lineage yet: agents have no address to ask."""


class LineageNotFound(BabylonTasksError, LookupError):
    """The settings name a lineage that the database lacks, where it has others."""


class CheckpointNotFound(BabylonTasksError, LookupError):
    """Promote, rollback or an arm names a step that is not committed, or one that was pruned."""


class CheckpointRefused(CheckpointNotFound):
    """A checkpoint cannot be what it is to be: it is pruned, it serves, or none served before."""


class NotInstalled(BabylonTasksError):
    """A command needs a package of an extra that is not installed."""

    fault = Fault.NOT_INSTALLED


class SandboxError(BabylonTasksError):
    """An embedded server did not start."""


class FolderInUse(SandboxError):
    """Another running process has the data folder."""
