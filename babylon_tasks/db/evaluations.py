"""Values of checkpoints on held-out sets: append only."""

from __future__ import annotations

from collections.abc import Sequence
from statistics import fmean

from msgspec import Struct
from psycopg.types.json import Jsonb

from babylon_tasks.db.session import Connection
from babylon_tasks.db.sql import queries


class Evaluation(Struct, frozen=True):
    """A checkpoint on a set: ``values`` and ``entropy`` (nats) by group, in the set's order."""

    step: int
    coverage: float
    values: tuple[float, ...]
    entropy: tuple[float, ...]


def of_set(connection: Connection, lineage: str, set_hash: str) -> dict[int, Evaluation]:
    """All evaluations on one set, by step."""
    parameters = {"lineage": lineage, "set_hash": set_hash}
    rows = connection.execute(queries("evaluations")["of_set"], parameters).fetchall()
    return {row[0]: Evaluation(row[0], row[1], tuple(row[2]), tuple(row[3])) for row in rows}


def best_of_last_set(connection: Connection, lineage: str, set_hash: str) -> int | None:
    """The best checkpoint on the set before this one: what a new set must be measured for."""
    parameters = {"lineage": lineage, "set_hash": set_hash}
    row = connection.execute(queries("evaluations")["best_of_last_set"], parameters).fetchone()
    return None if row is None else int(row[0])


def store(
    connection: Connection,
    lineage: str,
    step: int,
    set_hash: str,
    *,
    groups: Sequence[tuple[str, str]],
    values: Sequence[float],
    coverage: Sequence[float],
    entropy: Sequence[float],
) -> None:
    """Write one evaluation; ``groups``: (window, key) in the set's order."""
    parameters = {
        "lineage": lineage,
        "step": step,
        "set_hash": set_hash,
        "windows": sorted({window for window, _ in groups}),
        "groups": len(groups),
        "value": fmean(values),
        "coverage": fmean(coverage),
        "entropy": fmean(entropy),
        "group_values": Jsonb(
            [
                {"window": window, "key": key, "value": v, "coverage": c, "entropy": h}
                for (window, key), v, c, h in zip(groups, values, coverage, entropy, strict=True)
            ]
        ),
    }
    connection.execute(queries("evaluations")["store"], parameters)
