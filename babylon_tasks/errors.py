"""Every error this project raises on purpose.

BabylonTasksError
├── SettingsError            a setting is missing or contradicts another
├── DatabaseError
│   ├── MigrationError       the schema is not what the code expects
│   └── DatabaseUnavailable  the server did not answer
├── WindowError
│   ├── BadWindowId          not ``YYYY-MM-DDTHH:00``
│   ├── WindowNotFound       no such window in ``training.windows``
│   └── ScoringFailed        the scorer itself failed: a bug, not a bad row
├── IllegalTransition        a state change that the transition table forbids
├── StaleLease               a newer claimant has the lease: stop and discard
├── TrainingError
│   ├── TrainerDied          the trainer process ended by signal, exit code or silence
│   └── BackendUnavailable   the chosen backend cannot run here
├── BrokerUnavailable        Redis did not take a message
├── NothingServes            no trainer has served the lineage yet
├── CheckpointNotFound       promote or rollback names a step that is not committed
├── NotInstalled             an optional package is missing
└── SandboxError             an embedded server did not start

To add one: subclass the nearest node, document in the docstring when it is raised, and put
into the message what happened, to which window or step, and what the operator does next.
"""

from __future__ import annotations


class BabylonTasksError(Exception):
    """Base of all errors that this project raises on purpose."""


class SettingsError(BabylonTasksError):
    """A setting is missing or contradicts another one."""


class DatabaseError(BabylonTasksError):
    """The database refused or misses something."""


class MigrationError(DatabaseError):
    """The schema is not what the code expects."""


class DatabaseUnavailable(DatabaseError):
    """The database server did not answer."""


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


class TrainingError(BabylonTasksError):
    """A training step did not succeed."""


class TrainerDied(TrainingError):
    """The trainer process ended by signal, by exit code, or fell silent."""


class BackendUnavailable(TrainingError):
    """The chosen training backend cannot run on this machine."""


class BrokerUnavailable(BabylonTasksError):
    """Redis did not take a message; Postgres still holds what it was about."""


class NothingServes(BabylonTasksError):
    """No trainer has served the lineage yet: agents have no address to ask."""


class CheckpointNotFound(BabylonTasksError, LookupError):
    """Promote or rollback names a step that is not committed."""


class NotInstalled(BabylonTasksError):
    """A command needs a package of an extra that is not installed."""


class SandboxError(BabylonTasksError):
    """An embedded server did not start."""
