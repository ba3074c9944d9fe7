"""What looks like a secret, in any file that is committed."""

from __future__ import annotations

import re

_NAME = re.compile(
    r"(?i)(passwords?|passwd|secret|token|credential|private_?key|api_?key|basic_auth"
    r"|database_url|redis_url|_key$|_auth$)"
)
# What only says where the secret is.
_PLACE = re.compile(r"(?i)_(file|dir|path)$")
_LOGIN_IN_URL = re.compile(r"://[^/\s:@]*:[^/\s@]+@")


def names_secret(name: str) -> bool:
    """Whether a variable of this name holds a secret itself."""
    return bool(_NAME.search(name)) and not _PLACE.search(name)


def holds_login(text: str) -> bool:
    """Whether a URL with a password stands in the text."""
    return bool(_LOGIN_IN_URL.search(text))
