"""How many bytes all bodies in progress may have together: bounds on each add up to gigabytes."""

from __future__ import annotations

from babylon_tasks.http_server.limits import RETRY_AFTER_SECONDS
from babylon_tasks.http_server.refusals import Refused


class Room:
    """Room for ``most`` bytes; used in one event loop."""

    def __init__(self, most: int) -> None:
        self._most = self._left = most

    def take(self, count: int) -> None:
        """Take room; raises Refused where there is none: clients try again."""
        if count > self._left:
            raise Refused(
                429,
                f"the requests in progress have {self._most} bytes already, the limit for all "
                "together; try again later",
                code="rate_limit_exceeded",
                headers={"retry-after": str(RETRY_AFTER_SECONDS)},
            )
        self._left -= count

    def give_back(self, count: int) -> None:
        """Give back what was taken."""
        self._left += count
