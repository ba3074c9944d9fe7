"""The key of a request, in the header that OpenAI's clients send it in."""

from __future__ import annotations


def sent_key(authorization: bytes) -> bytes:
    """Return what follows the scheme, in whatever case; a header without it is taken for a key."""
    scheme, _, key = authorization.partition(b" ")
    return key.lstrip(b" ") if scheme.lower() == b"bearer" else authorization
