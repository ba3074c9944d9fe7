"""What to do about a connection that libpq could not open, by its message."""

from __future__ import annotations

_TLS = (
    (
        "certificate verify failed",
        "sslrootcert in DATABASE_URL must name the file of the authority that signed the server's "
        "certificate, and that certificate must not have expired",
    ),
    (
        "does not match host name",
        "the host in DATABASE_URL must be a name that the server's certificate has",
    ),
    (
        "root certificate file",
        "sslrootcert in DATABASE_URL must name the authority's file, mounted where this process "
        "can read it, or be `system`",
    ),
    (
        "does not support SSL",
        "turn TLS on in the server, or, where the network is trusted, take sslmode and sslaccept "
        "out of DATABASE_URL",
    ),
    (
        "requires a valid client certificate",
        "sslcert and sslkey in DATABASE_URL must name this client's certificate, of an authority "
        "that the server knows, and its key",
    ),
    (
        "no encryption",
        "the server's pg_hba.conf allows no such connection: check user and database, or whether "
        "it wants TLS (sslmode=verify-full in DATABASE_URL)",
    ),
)


def advice(message: str) -> str:
    """Return what to do, as the end of a sentence."""
    known = next((text for sign, text in _TLS if sign in message), None)
    return known or "check DATABASE_URL and that the server runs, then try again"
