"""The lineage: who may train it now (a lease with a fencing token) and how far it has come."""

from __future__ import annotations

from msgspec import Struct
from psycopg.rows import class_row

from babylon_tasks.db.session import Connection
from babylon_tasks.db.sql import queries
from babylon_tasks.errors import SettingsError, StaleLease
from babylon_tasks.settings import Settings


class Lineage(Struct, frozen=True):
    """A lineage as its row tells it."""

    name: str
    base_model: str
    backend: str
    head_step: int
    serving_step: int
    inference_base_url: str | None
    fencing_token: int
    lease_owner: str | None
    leased: bool


class Lease(Struct, frozen=True):
    """The right to change a lineage, good until a newer claim exists."""

    lineage: str
    owner: str
    fencing_token: int
    head_step: int
    serving_step: int


def ensure(connection: Connection, settings: Settings) -> Lineage:
    """The settings' lineage, made where it does not exist, step 0 included.

    Raises SettingsError if it learns on another base model than the settings say.
    """
    found = queries("lineages")
    parameters = {
        "name": settings.lineage,
        "base_model": settings.base_model,
        "backend": settings.backend,
    }
    lineage = get(connection, settings.lineage)
    if lineage is None:
        with connection.transaction():
            connection.execute(found["ensure"], parameters)
            connection.execute(found["ensure_base_checkpoint"], parameters)
        lineage = get(connection, settings.lineage)
        assert lineage is not None  # noqa: S101  # lineages are never deleted
    if lineage.base_model != settings.base_model:
        raise SettingsError(
            f"lineage {lineage.name} learns on {lineage.base_model}, the settings say "
            f"{settings.base_model}; set BABYLON_BASE_MODEL back, or BABYLON_LINEAGE to a new name"
        )
    return lineage


def get(connection: Connection, name: str) -> Lineage | None:
    """One lineage, None where nobody has begun it."""
    with connection.cursor(row_factory=class_row(Lineage)) as cursor:
        return cursor.execute(queries("lineages")["get"], {"name": name}).fetchone()


def claim(connection: Connection, name: str, owner: str, seconds: float) -> Lease | None:
    """Take the lease where it is free or has expired; None where another holds it."""
    parameters = {"name": name, "owner": owner, "seconds": seconds}
    row = connection.execute(queries("lineages")["claim"], parameters).fetchone()
    return None if row is None else Lease(name, owner, *row)


def renew(connection: Connection, lease: Lease, seconds: float) -> None:
    """Push the lease's end out; raises StaleLease."""
    parameters = {"name": lease.lineage, "fencing_token": lease.fencing_token, "seconds": seconds}
    if not connection.execute(queries("lineages")["renew"], parameters).rowcount:
        raise stale(lease)


def release(connection: Connection, lease: Lease) -> bool:
    """Give the lease back; False where it was no longer ours to give."""
    parameters = {"name": lease.lineage, "fencing_token": lease.fencing_token}
    return bool(connection.execute(queries("lineages")["release"], parameters).rowcount)


def lock_lineage(connection: Connection, lease: Lease) -> tuple[int, int]:
    """Lock the lineage for the caller's transaction: (head step, serving step); raises StaleLease.

    The first statement of every transaction that changes what the lease protects.
    """
    parameters = {"name": lease.lineage, "fencing_token": lease.fencing_token}
    row = connection.execute(queries("lineages")["lock"], parameters).fetchone()
    if row is None:
        raise stale(lease)
    return row[0], row[1]


def note_trainer(
    connection: Connection, lease: Lease, *, backend: str, base_url: str, inference_name: str
) -> None:
    """Write down where the trainer serves, for agents to find it; raises StaleLease."""
    parameters = {
        "name": lease.lineage,
        "fencing_token": lease.fencing_token,
        "backend": backend,
        "base_url": base_url,
        "inference_name": inference_name,
    }
    with connection.transaction():
        lock_lineage(connection, lease)
        connection.execute(queries("lineages")["note_trainer"], parameters)
        connection.execute(queries("lineages")["note_base_inference_name"], parameters)


def inference_names(connection: Connection, name: str) -> dict[str, int]:
    """Checkpoints by the name that agents ask for."""
    return dict(
        connection.execute(queries("lineages")["inference_names"], {"name": name}).fetchall()
    )


def parents(connection: Connection, name: str) -> dict[int, int]:
    """The tree of checkpoints: step to the step that it was trained on from."""
    return dict(connection.execute(queries("lineages")["parents"], {"name": name}).fetchall())


def stale(lease: Lease) -> StaleLease:
    """The refusal that a superseded claimant meets."""
    return StaleLease(
        f"the lease of {lease.owner} on lineage {lease.lineage} (fencing token "
        f"{lease.fencing_token}) has been superseded; "
        "nothing of it was written, the newer claimant goes on"
    )
