"""Values of checkpoints on held-out sets: append only."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from statistics import fmean

from msgspec import Struct
from psycopg.types.json import Jsonb

from babylon_tasks.db.session import Connection
from babylon_tasks.db.sql import execute, fetch_all


class Evaluation(Struct, frozen=True):
    """A checkpoint on a set: ``values``, ``entropy`` (nats) and ``says`` (what its answers come to,
    by probability; empty if an older version evaluated it) by group, in the set's order."""

    step: int
    coverage: float
    values: tuple[float, ...]
    entropy: tuple[float, ...]
    says: tuple[dict[str, float], ...]


def of_set(connection: Connection, lineage: str, set_hash: str) -> dict[int, Evaluation]:
    """Return all evaluations on one set, by step."""
    rows = fetch_all(
        connection, "evaluations.of_set", Evaluation, lineage=lineage, set_hash=set_hash
    )
    return {row.step: row for row in rows}


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
    says: Sequence[Mapping[str, float]],
    contested: Sequence[bool],
) -> None:
    """Write one evaluation; ``groups``: (window, key) in the set's order."""
    names = ("value", "coverage", "entropy", "says", "contested")
    figures = zip(values, coverage, entropy, says, contested, strict=True)
    by_group = [
        {"window": window, "key": key, **dict(zip(names, of_group, strict=True))}
        for (window, key), of_group in zip(groups, figures, strict=True)
    ]
    execute(
        connection,
        "evaluations.store",
        lineage=lineage,
        step=step,
        set_hash=set_hash,
        windows=sorted({window for window, _ in groups}),
        groups=len(groups),
        value=fmean(values),
        coverage=fmean(coverage),
        entropy=fmean(entropy),
        group_values=Jsonb(by_group),
    )
