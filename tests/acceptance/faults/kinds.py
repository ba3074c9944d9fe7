"""Kinds of systems that faults strike: the plain one, and others that differ from it in one thing.

``docs/reliability.md`` shows them by ``what``.
"""

from __future__ import annotations

from typing import NamedTuple


class Kind(NamedTuple):
    """``second``: a lineage that learns from the same hours by a GPU worker of its own.

    ``evaluates``: long enough to be struck in it, and each checkpoint must be decided about.
    """

    name: str
    what: str
    evaluates: bool = False
    second: str | None = None
    pooler: bool = False
    tls: bool = False
    small_postgres: bool = False


PLAIN = Kind("plain", "each checkpoint is evaluated on a small held-out hour, and serves")
EVALUATING = Kind("evaluating", "the held-out hour takes long to evaluate", evaluates=True)
TWO_LINEAGES = Kind("two lineages", "two lineages learn from one database", second="other")
POOLED = Kind("pooled", "Postgres is behind PgBouncer, in transaction mode", pooler=True)
ON_SMALL_DISK = Kind(
    "small disk", "Postgres has a disk of its own, which may be full", small_postgres=True
)
OVER_TLS = Kind("over TLS", "Postgres and Redis are reached over TLS, verified", tls=True)
