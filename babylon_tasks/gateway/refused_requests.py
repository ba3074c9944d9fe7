"""Requests that a server refused for what is the gateway's own: a key, credit, an address."""

from __future__ import annotations

import time

import structlog

from babylon_tasks.gateway import metrics

_LOG_SECONDS = 60.0
log = structlog.get_logger(__name__)


class RefusedRequests:
    """Counts them; the log has those of each server and status once a minute."""

    def __init__(self) -> None:
        self._logged_at: dict[tuple[str, int], float] = {}

    def note(self, server: str, status: int, base_url: str, key: str) -> None:
        """Count one; ``key`` is the setting that has the key for this server."""
        metrics.REFUSED.labels(server, str(status)).inc()
        now = time.monotonic()
        if now - self._logged_at.get((server, status), -_LOG_SECONDS) >= _LOG_SECONDS:
            self._logged_at[server, status] = now
            log.error(
                "server_request.refused",
                server=server,
                status=status,
                address=base_url,
                remedy=f"check {key}, what its account may do, the address and the model's name",
            )
