"""Secrets in texts and in the fields of log lines, replaced by ``***``.

The time this takes grows with the length of a text, and no faster: what a pattern may repeat never
contains what it begins with, so that no part of a text is read by two attempts.
"""

from __future__ import annotations

import json
import re
from base64 import b64encode
from collections.abc import Iterator, Mapping, MutableMapping, Sequence
from typing import Any
from urllib.parse import quote, quote_plus, unquote

from pydantic import SecretStr
from pydantic_settings import BaseSettings

from babylon_tasks.agent_settings import LEAST_SECRET
from babylon_tasks.plain_text import plain
from babylon_tasks.server_url import logins_in, secrets_in

MASK = "***"
# A longer text is cut after it has been masked: a log line is for people, and its readers have
# limits. A long traceback fits into 64 KiB.
LONGEST = 65_536
_DEEPEST = 8
# Only whole last words: `trainable_tokens` and `token_ids` are figures, not secrets, like
# `fencing_token`.
_SECRET_KEY = re.compile(
    r"(?:password|passwd|secret|username"  # a login's user, as in URLs: it may be half a password
    r"|(?:^|(?<!fencing)[_-])(?:token|api[_-]?key|authorization|credentials?))$",
    re.I,
)
_PATTERNS = (
    # A URL's user and password: up to the last @ before the path. No / is among what may repeat, so
    # the next :// begins after it.
    (re.compile(r"://[^\s/?#\"'<>]*@"), f"://{MASK}@"),
    (
        re.compile(
            r"([?&](?:[\w.-]*?(?:password|passwd|secret|token|key|signature)|pwd|sig)=)[^&\s\"'<>]++",
            re.I,
        ),
        rf"\1{MASK}",
    ),
    # As in a connection string, a header or JSON.
    (
        re.compile(
            r"((?:password|passwd|secret|api[_-]?key|authorization|(?:access|auth|refresh)[_-]?token)"
            r"[\"']?\s*+[=:]\s*+[\"']?(?:(?:bearer|basic)\s++)?)(?!\*\*\*)[^\s\"',;}]++",
            re.I,
        ),
        rf"\1{MASK}",
    ),
    (re.compile(r"\b(bearer\s++)[^\s\"',]++", re.I), rf"\1{MASK}"),
    (re.compile(r"\b(basic\s++)[A-Za-z0-9+/]{16,}+={0,2}", re.I), rf"\1{MASK}"),
)
_UNSTORABLE = re.compile("[\0\ud800-\udfff]")  # Postgres refuses a text with one of them


class Mask:
    """A structlog processor that masks secrets: by key, by shape, and by known value."""

    def __init__(self, settings: BaseSettings | None) -> None:
        # Without settings, only keys and shapes are masked.
        known = set() if settings is None else set(_known_secrets(settings))
        # The longest first: one secret may be a part of another.
        self._known = sorted(
            (value for value in known if len(value) >= LEAST_SECRET), key=len, reverse=True
        )

    def __call__(
        self, _logger: Any, _method: str, event: MutableMapping[str, Any]
    ) -> Mapping[str, Any]:
        return {key: self._entry(key, value, _DEEPEST) for key, value in event.items()}

    def text(self, text: str) -> str:
        """Mask the secrets in a text, then cut it; for what is stored or shown outside the log.

        What Postgres cannot store is written as JSON does.
        """
        for secret in self._known:
            text = text.replace(secret, MASK)
        for pattern, replacement in _PATTERNS:
            text = pattern.sub(replacement, text)
        text = _UNSTORABLE.sub(lambda one: plain(one[0]), text)
        if len(text) <= LONGEST:
            return text
        return f"{text[:LONGEST]}… ({len(text) - LONGEST} more characters are left out)"

    def _entry(self, key: object, value: Any, depth: int) -> Any:
        if value is not None and _SECRET_KEY.search(str(key)):
            return MASK
        return self._value(value, depth)

    def _value(self, value: Any, depth: int) -> Any:
        if value is None or isinstance(value, bool | int | float):
            return value
        if isinstance(value, str):
            return self.text(value)
        nested = isinstance(value, Mapping | Sequence | set | frozenset)
        if not nested or isinstance(value, bytes | bytearray):
            return self.text(str(value))
        if depth == 0:
            return f"({type(value).__name__}, left out: nested too deeply)"
        if isinstance(value, Mapping):
            return {
                self.text(str(key)): self._entry(key, entry, depth - 1)
                for key, entry in value.items()
            }
        return [self._value(entry, depth - 1) for entry in value]


def _known_secrets(settings: BaseSettings) -> Iterator[str]:
    """List every form in which a secret of the settings may occur in a text."""
    for name in type(settings).model_fields:
        value = getattr(settings, name)
        if not isinstance(value, SecretStr):
            continue
        secret = value.get_secret_value()
        if name.endswith("_url") and "://" in secret:  # a key may contain it, too
            found, logins = list(secrets_in(secret)), list(logins_in(secret))
        else:
            # Flower's user:password,user:password
            logins = [login for login in secret.split(",") if ":" in login]
            found = [secret, *(login.partition(":")[2] for login in logins)]
        for login in logins:
            yield b64encode(login.encode("utf-8", "replace")).decode().rstrip("=")
        for one in found:
            for written in (one, unquote(one)):
                yield written
                yield quote(written, safe="")
                yield quote_plus(written)
                yield json.dumps(written)[1:-1]
                yield json.dumps(written, ensure_ascii=False)[1:-1]
                yield repr(written)[1:-1]
                yield ascii(written)[1:-1]
