"""The checks of `doctor` on connections: are they what the addresses make one believe.

No TLS at all is no finding: on one machine, or in a network of its own, there is nothing to read.
"""

from __future__ import annotations

from collections.abc import Iterator

from babylon_tasks.cli.findings import Finding, finding
from babylon_tasks.db.session import Connection
from babylon_tasks.postgres_parameters import of_prisma_alone
from babylon_tasks.settings import Settings

_VERIFIED = "encrypted, the server is verified"
_UNVERIFIED = "encrypted, but the server is not verified: another one could pose as it"


def postgres_tls(settings: Settings, connection: Connection) -> Iterator[Finding]:
    """Check how this connection is encrypted, and name parameters that have no effect."""
    if connection.pgconn.ssl_in_use:
        mode = connection.info.get_parameters().get("sslmode", "prefer")
        verified = mode == "verify-full"
        yield finding(
            "postgres tls",
            verified,
            _VERIFIED if verified else f"{_UNVERIFIED} (sslmode {mode})",
            "add sslmode=verify-full to DATABASE_URL, and sslrootcert=system or the authority's "
            "file (Prisma: sslaccept=strict)",
            otherwise="warn",
        )
    without_effect = of_prisma_alone(settings.database_url.get_secret_value().partition("?")[2])
    if without_effect:
        yield Finding(
            "database url",
            "ok",
            f"{', '.join(without_effect)}: of Prisma's pool, without effect here; waits are "
            "bounded by BABYLON_DATABASE_TIMEOUT_SECONDS",
        )


def redis_tls(settings: Settings) -> Iterator[Finding]:
    """Check that TLS verifies the server; raises SettingsError for a file that is not there."""
    from babylon_tasks.tasks.redis_connection import server

    redis = server(settings)
    if redis.tls:
        yield finding(
            "redis tls",
            redis.is_verified,
            _VERIFIED if redis.is_verified else _UNVERIFIED,
            "take ssl_cert_reqs and ssl_check_hostname out of REDIS_URL; an authority of your own "
            "is named by ssl_ca_certs",
            otherwise="warn",
        )
