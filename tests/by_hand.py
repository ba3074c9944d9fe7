"""What an operator's `babylon-tasks models promote` does."""

from __future__ import annotations

from babylon_tasks.db import lineages
from babylon_tasks.db.session import Connection
from babylon_tasks.registry import serving


def promote_head(connection: Connection, lineage: str = "babylon") -> int:
    """Let the newest checkpoint serve."""
    found = lineages.get(connection, lineage)
    assert found is not None
    head = found.head_step
    serving.promote(connection, lineage, head, reason="manual", figures={}, actor="operator")
    return head
