"""Why a row cannot be used: a stable reason and a storable detail."""

from __future__ import annotations

import re

import msgspec

from babylon_tasks.reasons import Reason

_DETAIL = 200
_well_formed = msgspec.json.Decoder(msgspec.Raw)
# Possessive quantifiers: an 8 MB string must not leave 8 million states to backtrack to.
_TOKEN = re.compile(rb'"(?:[^"\\]++|\\.)*+"|-?Infinity|NaN', re.DOTALL)
_ESCAPE = re.compile(rb"\\(?:u[dD][89a-fA-F][0-9a-fA-F]{2}|.)", re.DOTALL)


class Undecodable(Exception):
    """A row cannot be used; ``detail`` is a sentence for people."""

    def __init__(self, reason: Reason, detail: str) -> None:
        super().__init__(reason)
        self.reason = reason
        self.detail = detail


def bounded(text: str) -> str:
    """Shorten text and remove what Postgres cannot store."""
    return text[:_DETAIL].replace("\0", "\\0").encode("utf-8", "replace").decode()


def diagnosis(text: bytes | str, error: ValueError) -> Undecodable:
    """Distinguish what the fast decoder cannot: broken JSON, NaN, half a character, wrong types."""
    flaws: set[bytes] = set()

    def repaired(match: re.Match[bytes]) -> bytes:
        token = match[0]
        if not token.startswith(b'"'):
            flaws.add(b"constant")
            return b"null"
        return _ESCAPE.sub(escape, token) if b"\\u" in token else token

    def escape(match: re.Match[bytes]) -> bytes:
        if len(match[0]) == 2:
            return match[0]
        flaws.add(b"surrogate")
        return b"?"

    data = text if isinstance(text, bytes) else text.encode("utf-8", "surrogatepass")
    cleaned = _TOKEN.sub(repaired, data)
    try:
        _well_formed.decode(cleaned)
    except RecursionError:
        return Undecodable(Reason.TOO_DEEP, "stepsJson is nested too deeply")
    except ValueError as error_in_json:
        return Undecodable(Reason.MALFORMED_JSON, str(error_in_json))
    if isinstance(error, msgspec.ValidationError):
        reason = Reason.NOT_FINITE if "Number out of range" in str(error) else Reason.BAD_SHAPE
        if b"constant" in flaws and reason is Reason.BAD_SHAPE:
            return Undecodable(Reason.NOT_FINITE, "NaN or Infinity in stepsJson")
        return Undecodable(reason, str(error))
    if b"constant" in flaws:
        return Undecodable(Reason.NOT_FINITE, "NaN or Infinity in stepsJson")
    if b"surrogate" in flaws:
        return Undecodable(
            Reason.UNSTORABLE_TEXT, f"half of a surrogate pair in stepsJson: {error}"
        )
    return Undecodable(Reason.MALFORMED_JSON, str(error))
