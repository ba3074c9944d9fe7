"""Checkpoints that were refused on evidence, and what is new since."""

from __future__ import annotations

from datetime import datetime

from msgspec import Struct

from babylon_tasks.db.session import Connection
from babylon_tasks.db.sql import fetch_all, fetch_one, fetch_values
from babylon_tasks.decisions import RefusalKind


class News(Struct, frozen=True):
    """What the next step can learn from, or be evaluated on, that a refused one did not have.

    ``windows``: trajectories that no dead branch has used; ``held_out``: held-out windows.
    """

    windows: bool
    held_out: bool


class RefusedStep(Struct, frozen=True):
    """A checkpoint that was refused or rolled back, and what served from then on ``instead``."""

    step: int
    instead: int


def refused(connection: Connection, lineage: str) -> set[int]:
    """Read the checkpoints that were refused or rolled back."""
    return set(fetch_values(connection, "refusals.refused", int, lineage=lineage))


def in_favour(
    connection: Connection, lineage: str, *, only_harm: bool = False
) -> list[RefusedStep]:
    """Read the refusals in favour of others, all or only those for harm."""
    kinds = [RefusalKind.HARM] if only_harm else list(RefusalKind)
    return fetch_all(connection, "refusals.in_favour", RefusedStep, lineage=lineage, kinds=kinds)


def news(connection: Connection, lineage: str) -> News:
    """Read what is new since the last refusal in favour of what serves."""
    found = fetch_one(connection, "refusals.news", News, lineage=lineage)
    assert found is not None  # noqa: S101  # a row of two expressions
    return found


def evaluated_in_a_row(connection: Connection, lineage: str) -> list[datetime]:
    """Read when evaluations have refused checkpoints since one was promoted or rolled back.

    The oldest is first; a checkpoint that was evaluated again counts once.
    """
    return fetch_values(connection, "refusals.evaluated_in_a_row", datetime, lineage=lineage)
