"""Redis and Postgres that speak TLS alone, with certificates of an authority that the test makes.

They are Debian's (``make servers``): what the sandbox bundles is built without OpenSSL.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from datetime import UTC, datetime
from pathlib import Path
from urllib.parse import urlencode, urlsplit, urlunsplit

import psycopg
import redis
import trustme
from debian_programs import find
from redis.backoff import NoBackoff
from redis.retry import Retry

from babylon_tasks.sandbox.process import HOST
from babylon_tasks.sandbox.server_user import write_private
from babylon_tasks.sandbox.servers import EmbeddedPostgres, EmbeddedValkey

_PAST = (datetime(2024, 1, 1, tzinfo=UTC), datetime(2024, 2, 1, tzinfo=UTC))
_PEM = "server.pem"


class Authority:
    """``file`` is what clients are given, ``issued`` the newest certificate that is valid."""

    def __init__(self, folder: Path) -> None:
        self._authority = trustme.CA()
        self.file = folder / "ca.crt"
        self.issued = folder / "server.crt"
        self._authority.cert_pem.write_to_path(str(self.file))

    def certificate(self, *names: str, expired: bool = False) -> str:
        """A private key and a certificate for these names and addresses, as PEM."""
        not_before, not_after = _PAST if expired else (None, None)
        issued = self._authority.issue_cert(*names, not_before=not_before, not_after=not_after)
        if not expired:
            issued.cert_chain_pems[0].write_to_path(str(self.issued))
        return issued.private_key_and_cert_chain_pem.bytes().decode()


class TlsRedis(EmbeddedValkey):
    """Its certificate is for ``HOST``; ``clients`` must show one, of the same authority."""

    name = "redis"

    def __init__(
        self, data_dir: Path, authority: Authority, *, expired: bool = False, clients: bool = False
    ) -> None:
        super().__init__(data_dir)
        self._authority = authority
        self._certificate = authority.certificate(HOST, expired=expired)
        self._clients = "yes" if clients else "no"

    @property
    def url(self) -> str:
        """The address of database 0; its authority is not named."""
        return super().url.replace("redis://", "rediss://", 1)

    def _command(self) -> Sequence[str | Path]:
        pem, authority = self.home / _PEM, self.home / "ca.pem"
        write_private(pem, self._certificate)
        write_private(authority, self._authority.file.read_text())
        settings = {
            "bind": HOST,
            "port": "0",
            "tls-port": str(self.port),
            "tls-cert-file": str(pem),
            "tls-key-file": str(pem),
            "tls-ca-cert-file": str(authority),
            "tls-auth-clients": self._clients,
            "dir": str(self.home),
            "requirepass": self._password(),
            "maxmemory-policy": "noeviction",
            "save": '""',
        }
        config = self.home / "redis.conf"
        write_private(config, "".join(f"{key} {value}\n" for key, value in settings.items()))
        return [find("redis-server", self.home), config]

    def _client(self, port: int) -> redis.Redis:
        return redis.Redis(
            host=HOST,
            port=port,
            password=self._password(),
            socket_timeout=1,
            retry=Retry(NoBackoff(), 0),
            ssl=True,
            ssl_cert_reqs="none",
            ssl_certfile=str(self.home / _PEM),
            ssl_keyfile=str(self.home / _PEM),
        )


class TlsPostgres(EmbeddedPostgres):
    """Its certificate is for ``HOST``. Who comes without TLS is refused, and the role ``certified``
    without a certificate of the same authority."""

    def __init__(self, data_dir: Path, authority: Authority) -> None:
        super().__init__(data_dir, durable=False)
        self._authority = authority
        pem, self._ca = self.home / _PEM, self.home / "ca.pem"
        self._settings += ["ssl=on", f"ssl_cert_file={pem}", f"ssl_key_file={pem}"]
        # Debian's JIT would look for LLVM, which is not unpacked.
        self._settings += [f"ssl_ca_file={self._ca}", "jit=off"]

    def program(self, name: str) -> Path:
        """Find a program of the server's."""
        return find(name, self.home)

    def certified(self, url: str) -> str:
        """Rewrite an address to one of the role that must show a certificate."""
        if not self._ask("SELECT FROM pg_roles WHERE rolname = 'certified'"):
            self._ask("CREATE ROLE certified LOGIN PASSWORD 'of-the-role'")
        return f"postgresql://certified:of-the-role@{url.rpartition('@')[2]}"

    @contextmanager
    def showing(self, certificate: str) -> Iterator[None]:
        """New connections are shown another certificate meanwhile."""
        own = (self.home / _PEM).read_text()
        self._show(certificate)
        yield
        self._show(own)

    def _show(self, certificate: str) -> None:
        before = self._ask("SELECT pg_conf_load_time()")
        write_private(self.home / _PEM, certificate)
        self._ask("SELECT pg_reload_conf()")
        while self._ask("SELECT pg_conf_load_time()") == before:  # of a new connection's parent
            pass

    def _ask(self, query: str) -> object:
        with psycopg.connect(self.url, sslmode="require") as connection:
            found = connection.execute(query)
            return found.fetchall() if found.description is not None else None

    def _prepare(self) -> None:
        super()._prepare()
        write_private(self.home / _PEM, self._authority.certificate(HOST))
        write_private(self._ca, self._authority.file.read_text())
        way = f"{HOST}/32 scram-sha-256"
        write_private(
            self._cluster / "pg_hba.conf",
            f"hostssl all certified {way} clientcert=verify-ca\nhostssl all all {way}\n",
        )


def at(url: str, *, scheme: str | None = None, host: str = HOST, **query: str) -> str:
    """The same server's address by another way, with these parameters."""
    parts = urlsplit(url)
    login = parts.netloc.rpartition("@")[0]
    way = (scheme or parts.scheme, f"{login}@{host}:{parts.port}", parts.path)
    return urlunsplit((*way, urlencode(query), ""))
