"""What is refused, in the shape that OpenAI's clients know: ``{"error": {...}}``."""

from __future__ import annotations

import re
from collections.abc import Mapping

import msgspec

from babylon_tasks.http_server.limits import RETRY_AFTER_SECONDS

# An escape of the first half of a character that no second one follows, or the other way round.
_HALF = re.compile(
    rb"\\u[dD](?:[89abAB][0-9a-fA-F]{2}(?!\\u[dD][c-fC-F])"
    rb"|[c-fC-F][0-9a-fA-F]{2}(?<!\\u[dD][89abAB]..\\u[dD]...))"
)


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


def unusable_json(body: bytes, error: Exception) -> Refused:
    """Refuse a body that could not be read as JSON, with msgspec's ``error``.

    JavaScript writes half an emoji where it has cut a text inside one; of that msgspec says only
    that the data were truncated, or where they are malformed.
    """
    half = _HALF.search(body.replace(rb"\\", b"  "))  # what follows these two is no escape
    why = str(error)
    if half is not None:
        why = (
            f"a text has half a character, {half[0].decode()} at byte {half.start()}: an unpaired "
            "surrogate, as is left where a text is cut inside an emoji"
        )
    return Refused(400, f"the body is not usable JSON: {why}", code="invalid_json")


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
