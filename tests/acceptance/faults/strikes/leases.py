"""How long a fault must last until every lease is over."""

from __future__ import annotations

import time

from acceptance.faults.system import System


def leases(system: System) -> bool:
    """Whether somebody holds a lease on a window or a step."""
    return bool(
        system.rows(
            "SELECT FROM training.windows WHERE lease_until > now()"
            " UNION ALL SELECT FROM training.lineages WHERE lease_until > now()"
        )
    )


def outlast_leases(system: System) -> None:
    """Wait until a lease that was renewed a moment ago is over."""
    time.sleep(1.2 * system.stack.settings.lease_seconds)
