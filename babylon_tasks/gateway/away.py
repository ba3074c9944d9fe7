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
    REFUSED = "refused"  # for the gateway's own key, credit or address: 401, 402, 403, ...
    TOO_LARGE = "too_large"
    MALFORMED = "malformed"  # an answer that is no chat completion
    PAUSED = "paused"  # not asked, after several of them in a row
    UNKNOWN = "unknown"  # what serves


# What may be wrong with the request itself: only its agent can do something about it.
_OF_THE_REQUEST = frozenset({400, 409, 413, 415, 422})


class Away(Exception):
    """A server gave no answer; ``status`` is the HTTP status that said so, where one did."""

    def __init__(self, reason: AwayReason, status: int | None = None) -> None:
        super().__init__(reason)
        self.reason = reason
        self.status = status


def away_by(status: int) -> Away | None:
    """Say why a reply of this status is no answer; None where the agent is to have it."""
    match status:
        case 200:
            return None
        case 404:
            return Away(AwayReason.NO_MODEL, status)
        case 429:
            return Away(AwayReason.BUSY, status)
        case _ if status in _OF_THE_REQUEST:
            return None
        case _ if status >= 500:
            return Away(AwayReason.ERROR, status)
    return Away(AwayReason.REFUSED, status)
