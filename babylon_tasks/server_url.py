"""Addresses of servers as URLs: read here once, so that every client reads them in the same way.

libpq ends user and password at the first ``@``, urlsplit at the last; kombu takes ``;`` for the end
of the address, urlsplit removes tabs. What two of them would split differently is refused; what is
left is written in one form, in which they agree. No message contains a part of the URL: it would be
a part of the password.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from typing import Annotated
from urllib.parse import parse_qsl, quote, unquote, urlsplit

from pydantic import AfterValidator, SecretStr

from babylon_tasks.postgres_parameters import for_libpq
from babylon_tasks.redis_parameters import tls_options

_URL = re.compile(
    r"(?P<scheme>[a-z]+)://"
    r"(?:(?P<user>[^\s/?#@:\[\]]*)(?::(?P<password>[^\s/?#@\[\]]*))?(?P<at>@))?"
    r"(?P<hosts>[^\s/?#@]*)(?P<path>/[^\s?#@]*)?(?:\?(?P<query>[^\s#@]*))?",
)
_HTTP_HOST = r"(\[[0-9A-Fa-f:.%]+\]|[^\s/?#@\\:\[\]]+)(:\d+)?"
_HOST = re.compile(r"(\[[0-9A-Fa-f:.%]+\]|[^:\[\]]*)(:\d*)?")
# Whole words in the names of a query's parameters.
SECRET_PARAMETER = re.compile(r"(?i:.*(?:password|passwd|secret|token|key|signature)|pwd|sig)")


def _server(name: str, secret: SecretStr, *schemes: str) -> re.Match[str]:
    url = secret.get_secret_value()
    if not url.startswith(tuple(f"{scheme}://" for scheme in schemes)):
        begins = " or ".join(f"{scheme}://" for scheme in schemes)
        raise ValueError(f"{name} must begin with {begins}")
    parts = _URL.fullmatch(url)
    # Neither tab nor newline; libpq refuses %00, which would end the password.
    login = "" if parts is None else f"{parts['user'] or ''}:{parts['password'] or ''}"
    if (
        parts is None
        or not url.isprintable()
        or not all(_HOST.fullmatch(host) for host in parts["hosts"].split(","))
        or re.search(r"%(?![0-9A-Fa-f]{2})|%00", login)
        or not _is_text(login)
    ):
        raise ValueError(
            f"{name} cannot be read: the port must be a number, and in user and password "
            "the characters : / ? # [ ] @ % and white space are written percent-encoded"
        )
    return parts


def _normal(parts: re.Match[str]) -> SecretStr:
    login = ""
    if parts["at"]:
        # Percent-encoded sequences stay; whatever only some clients would interpret becomes one.
        user, password = (quote(parts[name] or "", safe="%") for name in ("user", "password"))
        login = f"{user}{'' if parts['password'] is None else f':{password}'}@"
    query = "" if parts["query"] is None else f"?{parts['query']}"
    return SecretStr(f"{parts['scheme']}://{login}{parts['hosts']}{parts['path'] or ''}{query}")


def _postgres(url: SecretStr) -> SecretStr:
    parts = _server("DATABASE_URL", url, "postgresql", "postgres")
    if "password" in dict(parse_qsl(parts["query"] or "")):
        # There a raw & would end it, and what follows would be shown as a parameter's name.
        raise ValueError(
            "DATABASE_URL has the password as a parameter: write it before the host, as in "
            "postgresql://user:PASSWORD@/database?host=/run/postgresql"
        )
    for_libpq(parts["query"] or "")
    return _normal(parts)


def _redis(url: SecretStr) -> SecretStr:
    parts = _server("REDIS_URL", url, "redis", "rediss")
    if not re.fullmatch(r"(/\d*)?", parts["path"] or ""):
        raise ValueError("the database in REDIS_URL is not a number, as in redis://host:6379/0")
    if "," in parts["hosts"] or ";" in parts["hosts"]:
        raise ValueError("REDIS_URL names several servers: name one")
    tls_options(parts["scheme"], parts["query"] or "")
    if parts["user"] and not parts["password"]:
        raise ValueError(
            "REDIS_URL has a user without a password; a password alone is written with a colon "
            "before it: redis://:PASSWORD@host"
        )
    return _normal(parts)


PostgresUrl = Annotated[SecretStr, AfterValidator(_postgres)]
RedisUrl = Annotated[SecretStr, AfterValidator(_redis)]


def require_address(name: str, url: str | None, example: str, path: str = r"(/[^\s?#@]*)?") -> None:
    """Raise ValueError unless this is an HTTP address without user, query and fragment.

    Keys belong into settings that are masked; the message does not contain the URL.
    """
    if url is not None and not (
        url.isprintable() and re.fullmatch(rf"https?://{_HTTP_HOST}{path}", url)
    ):
        raise ValueError(f"{name} must look like {example}, without user, password and query")


def secrets_in(url: str) -> Iterator[str]:
    """List the secrets in a URL, as they are written in it: the password, keys in its query."""
    parts = urlsplit(url)
    if parts.password:
        yield parts.password
    for name, value in parse_qsl(parts.query):
        if SECRET_PARAMETER.fullmatch(name):
            yield value


def logins_in(url: str) -> Iterator[str]:
    """List what an HTTP client would send as its basic login: ``user:password``, decoded."""
    parts = urlsplit(url)
    if parts.password:
        yield f"{unquote(parts.username or '')}:{unquote(parts.password)}"


def _is_text(login: str) -> bool:
    try:
        unquote(login, errors="strict")
    except ValueError:
        return False
    return True
