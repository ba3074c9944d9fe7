"""The lineage: who may train it now (a lease with a fencing token) and how far it has come."""

from __future__ import annotations

from msgspec import Struct

from babylon_tasks.db.session import Connection
from babylon_tasks.db.sql import execute, fetch_all, fetch_one, fetch_pairs, fetch_values
from babylon_tasks.errors import LineageNotFound, SettingsError, StaleLease
from babylon_tasks.settings import Settings
from babylon_tasks.step_records import CommittedCheckpoint


class Lineage(Struct, frozen=True):
    """A row of ``training.lineages``.

    ``data_folder`` is the id of the folder of its checkpoints, ``trouble`` what is wrong with them.
    """

    name: str
    base_model: str
    backend: str
    head_step: int
    serving_step: int
    inference_base_url: str | None
    fencing_token: int
    lease_owner: str | None
    leased: bool
    data_folder: str | None = None
    trouble: str | None = None


class Lease(Struct, frozen=True):
    """The right to change a lineage, valid until a newer claim exists."""

    lineage: str
    owner: str
    fencing_token: int
    head_step: int
    serving_step: int


class LockedLineage(Struct, frozen=True):
    """The head and serving step of a locked lineage."""

    head_step: int
    serving_step: int


def ensure(connection: Connection, settings: Settings) -> Lineage:
    """Return the settings' lineage; create it with step 0 if it does not exist.

    Raises SettingsError if it learns on another base model than the settings say.
    """
    name, base_model = settings.lineage, settings.base_model
    lineage = get(connection, name)
    if lineage is None:
        with connection.transaction():
            fetch_values(connection, "lineages.lock_all", str)  # as their windows are now
            execute(
                connection,
                "lineages.ensure",
                name=name,
                base_model=base_model,
                backend=settings.backend,
            )
            execute(connection, "lineages.ensure_base_checkpoint", name=name, base_model=base_model)
            execute(connection, "lineage_windows.of_the_first", lineage=name)
        lineage = get(connection, name)
        assert lineage is not None  # noqa: S101  # lineages are never deleted
    if lineage.base_model != base_model:
        raise SettingsError(
            f"lineage {lineage.name} learns on {lineage.base_model}, the settings say "
            f"{base_model}; set BABYLON_BASE_MODEL back, or BABYLON_LINEAGE to a new name"
        )
    return lineage


def get(connection: Connection, name: str) -> Lineage | None:
    """Read one lineage; None if it does not exist yet."""
    return fetch_one(connection, "lineages.get", Lineage, name=name)


def require(connection: Connection, name: str) -> None:
    """Raise LineageNotFound where nobody has served or trained it, but others.

    Hours are shared, so all that would be reported of it would be theirs.
    """
    known = names(connection)
    if known and name not in known:
        raise LineageNotFound(
            f"there is no lineage {name}: no worker has served or trained it; this database has "
            f"{', '.join(known)}; set BABYLON_LINEAGE, or start the worker of the new one"
        )


def names(connection: Connection) -> list[str]:
    """List the lineages of the database."""
    return fetch_values(connection, "lineages.names", str)


def live(connection: Connection) -> list[str]:
    """List the lineages that somebody has worked on or served in the last week."""
    return fetch_values(connection, "lineages.live", str)


def claim(connection: Connection, name: str, owner: str, seconds: float) -> Lease | None:
    """Take the lease if it is free or has expired; None if another has it."""
    return fetch_one(connection, "lineages.claim", Lease, name=name, owner=owner, seconds=seconds)


def renew(connection: Connection, lease: Lease, seconds: float) -> None:
    """Extend the lease; raises StaleLease."""
    if not execute(connection, "lineages.renew", **_guard(lease), seconds=seconds):
        raise _stale(lease)


def release(connection: Connection, lease: Lease) -> bool:
    """Release the lease; returns False if it was no longer ours."""
    return bool(execute(connection, "lineages.release", **_guard(lease)))


def lock_lineage(connection: Connection, lease: Lease) -> LockedLineage:
    """Lock the lineage for the caller's transaction; raises StaleLease.

    The first statement of every transaction that changes what the lease protects.
    """
    locked = fetch_one(connection, "lineages.lock", LockedLineage, **_guard(lease))
    if locked is None:
        raise _stale(lease)
    return locked


def move_head(connection: Connection, lease: Lease, step: int) -> None:
    """Move the head from the previous step to ``step``; raises StaleLease if it is elsewhere."""
    if not execute(connection, "lineages.move_head", **_guard(lease), step=step):
        raise _stale(lease)


def note_trainer(
    connection: Connection, lease: Lease, *, backend: str, base_url: str, inference_name: str
) -> None:
    """Store where the trainer serves, for agents to find it; raises StaleLease."""
    with connection.transaction():
        lock_lineage(connection, lease)
        announce(
            connection,
            lease.lineage,
            backend=backend,
            base_url=base_url,
            inference_name=inference_name,
        )


def announce(
    connection: Connection,
    name: str,
    *,
    backend: str,
    base_url: str,
    inference_name: str | None = None,
) -> None:
    """Store where the trainer serves inference, and by which backend it trains.

    ``inference_name``: by which the base model is asked for; None: as it is stored.
    """
    with connection.transaction():
        execute(connection, "lineages.announce", name=name, backend=backend, base_url=base_url)
        if inference_name is not None:
            execute(
                connection,
                "lineages.note_base_inference_name",
                name=name,
                inference_name=inference_name,
            )


def inference_names(connection: Connection, name: str) -> dict[str, int]:
    """Map the names that agents request to checkpoints."""
    return fetch_pairs(connection, "lineages.inference_names", str, int, name=name)


def names_come_again(connection: Connection, name: str) -> dict[str, str]:
    """Map the names that an earlier checkpoint had to the first hour when only the newest has."""
    return fetch_pairs(connection, "lineages.names_come_again", str, str, name=name)


def note_trouble(connection: Connection, name: str, trouble: str | None) -> bool:
    """Store what is wrong with the lineage's files, or that nothing is; returns if that is new."""
    return bool(execute(connection, "lineages.note_trouble", name=name, trouble=trouble))


def checkpoints(connection: Connection, name: str) -> list[CommittedCheckpoint]:
    """List the committed checkpoints that are not pruned, oldest first, without the base model."""
    return fetch_all(connection, "lineages.checkpoints", CommittedCheckpoint, name=name)


class AtBackend(Struct, frozen=True):
    """A checkpoint that is not gone from its backend, with its number there."""

    step: int
    backend_step: int
    dead: bool


def at_backend(connection: Connection, name: str) -> list[AtBackend]:
    """List the checkpoints that the backend has, by their numbers there."""
    return fetch_all(connection, "lineages.at_backend", AtBackend, name=name)


def parents(connection: Connection, name: str) -> dict[int, int]:
    """Read the tree of checkpoints: each step and the step that it was trained from."""
    return fetch_pairs(connection, "lineages.parents", int, int, name=name)


def _guard(lease: Lease) -> dict[str, object]:
    return {"name": lease.lineage, "fencing_token": lease.fencing_token}


def _stale(lease: Lease) -> StaleLease:
    return StaleLease(
        f"the lease of {lease.owner} on lineage {lease.lineage} (fencing token "
        f"{lease.fencing_token}) has been superseded; "
        "it has written nothing, the newer claimant continues"
    )
