"""What is refused, in the shape that OpenAI's clients know: ``{"error": {...}}``."""

from __future__ import annotations

from collections.abc import Mapping

import msgspec

from babylon_tasks.http_server.limits import RETRY_AFTER_SECONDS


class ClientGone(Exception):
    """The client closed its connection before it had its answer."""


class Refused(Exception):
    """A request is answered with an error: an HTTP status and OpenAI's error object.

    ``param`` is the field of the request that is at fault, ``code`` OpenAI's word for the fault.
    """

    def __init__(
        self,
        status: int,
        message: str,
        *,
        code: str | None = None,
        param: str | None = None,
        headers: Mapping[str, str] | None = None,
    ) -> None:
        super().__init__(message)
        self.status = status
        self.message = message
        self.code = code
        self.param = param
        self.headers = dict(headers or {})

    @property
    def body(self) -> bytes:
        """OpenAI's error object as JSON."""
        kind = "invalid_request_error" if self.status < 500 else "server_error"
        error = {
            "message": self.message,
            "type": "rate_limit_error" if self.status == 429 else kind,
            "param": self.param,
            "code": self.code,
        }
        return msgspec.json.encode({"error": error})


def too_many_requests(limit: int, setting: str) -> Refused:
    """Refuse a request beyond the limit of ``setting``; OpenAI's clients try again."""
    return Refused(
        429,
        f"{limit} requests are waiting already, the limit of {setting}; try again later",
        code="rate_limit_exceeded",
        headers={"retry-after": str(RETRY_AFTER_SECONDS)},
    )


def too_late(seconds: float, setting: str) -> Refused:
    """Refuse a request whose answer was not ready in time, the limit of ``setting``."""
    return Refused(
        503,
        f"there was no answer within {seconds:g} s, the limit of {setting}; "
        "ask again later, or for less",
        code="timeout",
        headers={"retry-after": str(RETRY_AFTER_SECONDS)},
    )
