"""A transaction pooler that is reached by TLS alone, as hosted Postgres often is, and verified."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest
from pgbouncer import PgBouncer
from tls import Authority, at

from babylon_tasks.db.session import connect
from babylon_tasks.errors import DatabaseUnavailable
from babylon_tasks.sandbox.server_user import write_private
from babylon_tasks.sandbox.servers import EmbeddedPostgres
from babylon_tasks.settings import Settings

pytestmark = pytest.mark.contract(None)


@pytest.fixture
def encrypted(
    servers_dir: Path, postgres: EmbeddedPostgres, authority: Authority
) -> Iterator[PgBouncer]:
    pem = str(servers_dir / "tls-pgbouncer" / "server.pem")
    files = {"client_tls_key_file": pem, "client_tls_cert_file": pem}
    pooler = PgBouncer(
        servers_dir / "tls-pgbouncer", postgres, client_tls_sslmode="require", **files
    )
    write_private(Path(pem), authority.certificate("127.0.0.1"))
    with pooler:
        yield pooler


def test_it_is_verified_as_postgres_itself_is(
    database_url: str, encrypted: PgBouncer, authority: Authority, other_authority: Authority
) -> None:
    def settings(trusted: Authority) -> Settings:
        words = {"sslmode": "verify-full", "sslrootcert": str(trusted.file)}
        return Settings(DATABASE_URL=at(encrypted.before(database_url), pgbouncer="true", **words))

    with connect(settings(authority), patience=0) as connection:
        assert connection.execute("SELECT count(*) FROM training.windows").fetchone() == (0,)
        assert connection.pgconn.ssl_in_use
    with pytest.raises(DatabaseUnavailable, match="sslrootcert in DATABASE_URL must name"):
        connect(settings(other_authority), patience=0)
