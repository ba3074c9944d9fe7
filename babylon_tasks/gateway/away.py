"""Why a server gave no answer."""

from __future__ import annotations

from enum import StrEnum


class AwayReason(StrEnum):
    """A word for metrics and a header."""

    CONNECT = "connect"
    TIMEOUT = "timeout"
    BROKEN = "broken"  # the connection, while it was used
    BUSY = "busy"  # 429
    ERROR = "error"  # 5xx
    NO_MODEL = "no_model"  # 404
    TOO_LARGE = "too_large"
    PAUSED = "paused"  # not asked, after several of them in a row
    UNKNOWN = "unknown"  # what serves


class Away(Exception):
    """A server gave no answer."""

    def __init__(self, reason: AwayReason) -> None:
        super().__init__(reason)
        self.reason = reason
