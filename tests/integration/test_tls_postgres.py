"""TLS to Postgres: verified as the URL says, in libpq's words or Prisma's, or refused by name."""

from __future__ import annotations

import os
from collections.abc import Iterator
from pathlib import Path

import pytest
from tls import Authority, TlsPostgres, at

from babylon_tasks.agent_settings import DatabaseSettings
from babylon_tasks.db import connection
from babylon_tasks.db.session import connect
from babylon_tasks.db.system_authorities import system_authorities
from babylon_tasks.errors import DatabaseUnavailable, SettingsError
from babylon_tasks.settings import Settings, checked

pytestmark = pytest.mark.contract(None)


@pytest.fixture
def expired(tls_postgres: TlsPostgres, authority: Authority) -> Iterator[None]:
    """The server's certificate is of the past."""
    with tls_postgres.showing(authority.certificate("127.0.0.1", expired=True)):
        yield


def encrypted(url: str) -> bool:
    """Connect once, ask something; whether TLS was used."""
    with connect(Settings(DATABASE_URL=url), patience=0) as opened:
        assert opened.execute("SELECT 1").fetchone() == (1,)
        return opened.pgconn.ssl_in_use


def refusal(url: str) -> str:
    """Why no connection came about."""
    with pytest.raises(DatabaseUnavailable) as refused:
        connect(Settings(DATABASE_URL=url), patience=0)
    return str(refused.value)


@pytest.fixture(params=["libpq", "prisma"])
def verifying(request: pytest.FixtureRequest) -> dict[str, str]:
    """How the mode is written; what names the authority is in ``named``."""
    return {
        "libpq": {"sslmode": "verify-full"},
        "prisma": {"sslmode": "require", "sslaccept": "strict"},
    }[request.param]


def named(mode: dict[str, str], authority: Authority) -> dict[str, str]:
    return mode | {"sslcert" if "sslaccept" in mode else "sslrootcert": str(authority.file)}


def test_the_right_authority_is_enough(
    tls_database_url: str, authority: Authority, verifying: dict[str, str]
) -> None:
    assert encrypted(at(tls_database_url, **named(verifying, authority)))


def test_another_authority_is_refused(
    tls_database_url: str, other_authority: Authority, verifying: dict[str, str]
) -> None:
    why = refusal(at(tls_database_url, **named(verifying, other_authority)))
    assert "certificate verify failed" in why
    assert "sslrootcert in DATABASE_URL must name" in why


def test_another_name_is_refused(
    tls_database_url: str, authority: Authority, verifying: dict[str, str]
) -> None:
    url = at(tls_database_url, host="localhost", **named(verifying, authority))
    assert "must be a name that the server's certificate has" in refusal(url)


def test_an_expired_certificate_is_refused(
    tls_database_url: str, expired: None, authority: Authority, verifying: dict[str, str]
) -> None:
    del expired
    why = refusal(at(tls_database_url, **named(verifying, authority)))
    assert "must not have expired" in why


def test_a_server_without_tls_is_refused(
    database_url: str, authority: Authority, verifying: dict[str, str]
) -> None:
    why = refusal(at(database_url, **named(verifying, authority)))
    assert "turn TLS on in the server" in why


def test_an_authority_that_is_not_there_is_named(tls_database_url: str, tmp_path: Path) -> None:
    nowhere = str(tmp_path / "nowhere.crt")
    why = refusal(at(tls_database_url, sslmode="verify-full", sslrootcert=nowhere))
    assert nowhere in why
    assert "sslrootcert in DATABASE_URL must name" in why


@pytest.mark.parametrize(
    "query",
    [
        {"sslmode": "verify-full", "sslrootcert": "system"},
        {"sslrootcert": "system"},
        {"sslaccept": "strict"},
        {"sslmode": "prefer", "sslaccept": "strict"},
    ],
)
def test_the_system_s_authorities_are_those_of_the_machine_not_of_the_wheel(
    tls_database_url: str,
    authority: Authority,
    other_authority: Authority,
    monkeypatch: pytest.MonkeyPatch,
    query: dict[str, str],
) -> None:
    url = at(tls_database_url, **query)
    monkeypatch.setenv("SSL_CERT_FILE", str(authority.file))
    assert encrypted(url)
    monkeypatch.setenv("SSL_CERT_FILE", str(other_authority.file))
    assert "certificate verify failed" in refusal(url)
    # OpenSSL itself reads that variable; without it the wheel's would find no file.
    monkeypatch.delenv("SSL_CERT_FILE")
    assert "certificate verify failed" in refusal(url), "no authority of the machine signed this"
    assert Path(system_authorities()).is_file()
    monkeypatch.setattr(connection, "system_authorities", lambda: str(authority.file))
    assert encrypted(url)


@pytest.mark.parametrize(
    "query",
    [
        {},
        {"sslmode": "require"},
        {"sslmode": "require", "sslaccept": "accept_invalid_certs"},
        {"sslmode": "require", "sslaccept": "accept_invalid_certs", "sslcert": "/nowhere"},
    ],
)
def test_without_a_word_about_verification_tls_is_used_and_nothing_verified(
    tls_database_url: str, expired: None, query: dict[str, str]
) -> None:
    del expired
    assert encrypted(at(tls_database_url, host="localhost", **query))


def test_the_server_may_ask_for_a_certificate_of_the_client(
    tls_postgres: TlsPostgres, authority: Authority, tmp_path: Path
) -> None:
    url = tls_postgres.certified(tls_postgres.url)
    ca = {"sslmode": "verify-full", "sslrootcert": str(authority.file)}
    assert "sslcert and sslkey in DATABASE_URL must name" in refusal(at(url, **ca))
    own = tmp_path / "client.pem"
    own.touch(0o600)
    own.write_text(authority.certificate("client"))
    assert encrypted(at(url, sslcert=str(own), sslkey=str(own), **ca))


def test_a_server_that_wants_tls_is_named_as_that(tls_database_url: str) -> None:
    assert "whether it wants TLS" in refusal(at(tls_database_url, sslmode="disable"))


@pytest.mark.parametrize("mode", ["disable", "prefer", None])
def test_a_server_without_tls_is_taken_where_nothing_asks_for_it(
    database_url: str, mode: str | None
) -> None:
    assert not encrypted(at(database_url, **({"sslmode": mode} if mode else {})))


def test_a_process_of_agents_connects_in_the_same_way(
    tls_database_url: str, authority: Authority, other_authority: Authority
) -> None:
    for trusted, works in ((authority, True), (other_authority, False)):
        url = at(tls_database_url, sslaccept="strict", sslcert=str(trusted.file))
        settings = DatabaseSettings(DATABASE_URL=url)
        if works:
            connect(settings, patience=0).close()
        else:
            with pytest.raises(DatabaseUnavailable, match="certificate verify failed"):
                connect(settings, patience=0)


def test_the_settings_refuse_what_cannot_be_translated() -> None:
    assert "DATABASE_URL" not in os.environ
    with pytest.raises(SettingsError, match="sslidentity, a PKCS 12 file"):
        checked(database_url="postgresql://u:p@h/b?sslidentity=client.p12&sslpassword=x")
