"""How Redis is connected to: one reading of REDIS_URL for Celery, Flower and our own clients."""

from __future__ import annotations

import ssl
from pathlib import Path
from typing import Any

from msgspec import Struct
from redis import Redis
from redis.backoff import NoBackoff
from redis.retry import Retry

from babylon_tasks.errors import SettingsError
from babylon_tasks.redis_parameters import FILES, tls_options
from babylon_tasks.settings import Settings


class Server(Struct, frozen=True):
    """The address without parameters, and redis-py's options for TLS: empty without TLS."""

    url: str
    tls: dict[str, Any]

    @property
    def is_verified(self) -> bool:
        """Whether nobody can pass himself off as this server; False without TLS too."""
        return bool(
            self.tls.get("ssl_cert_reqs") == ssl.CERT_REQUIRED and self.tls["ssl_check_hostname"]
        )


def server(settings: Settings) -> Server:
    """Read REDIS_URL; raises SettingsError where a file that it names cannot be read."""
    url, _, query = settings.redis_url.get_secret_value().partition("?")
    tls = tls_options(url.partition("://")[0], query)
    for name in FILES:
        if name in tls:
            _require_readable(name, Path(tls[name]))
    return Server(url, tls)


def open_client(settings: Settings, patience: float, **options: Any) -> Redis:
    """Make a client that tries once and waits ``patience`` seconds; raises SettingsError."""
    at = server(settings)
    return Redis.from_url(
        at.url,
        socket_timeout=patience,
        socket_connect_timeout=patience,
        retry=Retry(NoBackoff(), 0),
        **at.tls,
        **options,
    )


def _require_readable(name: str, path: Path) -> None:
    # OpenSSL's own error names no file.
    try:
        path.open("rb").close()
    except OSError as error:
        raise SettingsError(
            f"REDIS_URL: the file of {name}, {path}, cannot be read ({error.strerror}): mount it, "
            "or correct the path"
        ) from None
