"""Servers behind TLS, with certificates of an authority that the test makes.

The bundled Postgres and Valkey are built without OpenSSL, so TLS ends in a proxy on loopback before
the real server. Clients see what they see of a server with TLS: a handshake by OpenSSL, and with
Postgres the exchange before it (SSLRequest, `S`). What the proxy cannot show is channel binding.
"""

from __future__ import annotations

import asyncio
import ssl
from datetime import UTC, datetime
from pathlib import Path
from urllib.parse import urlencode, urlsplit, urlunsplit

import trustme
from tcp_proxy import TcpProxy

_SSL_REQUEST = b"\x00\x00\x00\x08\x04\xd2\x16\x2f"
_PAST = (datetime(2024, 1, 1, tzinfo=UTC), datetime(2024, 2, 1, tzinfo=UTC))


class Authority:
    """A certificate authority; ``file`` is what clients are given, ``issued`` the newest of its."""

    def __init__(self, folder: Path) -> None:
        self._authority = trustme.CA()
        self.file = folder / "ca.crt"
        self.issued = folder / "server.crt"
        self._authority.cert_pem.write_to_path(str(self.file))

    def certificate(self, *names: str, expired: bool = False) -> ssl.SSLContext:
        """A server's side of TLS, with a certificate for these names and addresses."""
        context = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH)
        not_before, not_after = _PAST if expired else (None, None)
        issued = self._authority.issue_cert(*names, not_before=not_before, not_after=not_after)
        issued.configure_cert(context)
        issued.cert_chain_pems[0].write_to_path(str(self.issued))
        return context


class TlsProxy(TcpProxy):
    """``port`` speaks TLS and leads to ``target``; what is not TLS is refused."""

    def __init__(self, target: int, certificate: ssl.SSLContext, *, postgres: bool = False) -> None:
        super().__init__(target)
        self._certificate = certificate
        self._postgres = postgres

    async def _serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        try:
            if self._postgres and await reader.readexactly(8) == _SSL_REQUEST:
                writer.write(b"S")
            await writer.start_tls(self._certificate)
        except (OSError, asyncio.IncompleteReadError):
            writer.transport.abort()
            return
        await super()._serve(reader, writer)


def at(
    url: str, port: int, *, scheme: str | None = None, host: str = "127.0.0.1", **query: str
) -> str:
    """The same server's address by another way, with these parameters."""
    parts = urlsplit(url)
    login = parts.netloc.rpartition("@")[0]
    way = (scheme or parts.scheme, f"{login}@{host}:{port}", parts.path, urlencode(query), "")
    return urlunsplit(way)
