"""The recorder in TypeScript reads an address's words about TLS as all other processes do.

The server refuses whoever comes without TLS, so that what is written came over it.
"""

from __future__ import annotations

from pathlib import Path

import psycopg
from node import run_json
from tls import Authority, TlsPostgres, at

WRITTEN = "written"


def reached(addresses: list[str], **environment: str) -> list[str]:
    said = run_json("test/reach.ts", given=addresses, **environment)
    assert isinstance(said, list)
    return said


def test_the_right_authority_is_enough_and_another_one_is_refused(
    tls_database_url: str, authority: Authority, other_authority: Authority
) -> None:
    def addresses(trusted: Authority) -> list[str]:
        ca = str(trusted.file)
        return [
            at(tls_database_url, sslmode="verify-full", sslrootcert=ca),
            at(tls_database_url, sslmode="verify-ca", sslrootcert=ca),
            at(tls_database_url, sslmode="require", sslrootcert=ca),
            at(tls_database_url, sslrootcert=ca),
            at(tls_database_url, sslmode="require", sslaccept="strict", sslcert=ca),
            at(tls_database_url, sslaccept="strict", sslcert=ca),
        ]

    assert reached(addresses(authority)) == [WRITTEN] * 6
    for why in reached(addresses(other_authority)):
        assert "certificate" in why


def test_the_authorities_of_the_machine_are_named_system_or_by_strict_alone(
    tls_database_url: str, authority: Authority
) -> None:
    addresses = [
        at(tls_database_url, sslmode="verify-full", sslrootcert="system"),
        at(tls_database_url, sslrootcert="system"),
        at(tls_database_url, sslaccept="strict"),
    ]
    assert reached(addresses, SSL_CERT_FILE=str(authority.file)) == [WRITTEN] * 3
    for why in reached(addresses):
        assert "certificate" in why


def test_another_name_is_refused_by_what_verifies_names(
    tls_database_url: str, authority: Authority
) -> None:
    def address(mode: str) -> str:
        ca = str(authority.file)
        return at(tls_database_url, host="localhost", sslmode=mode, sslrootcert=ca)

    refused, written = reached([address("verify-full"), address("verify-ca")])
    assert "does not match certificate's altnames" in refused
    assert written == WRITTEN


def test_without_a_word_about_verification_nothing_is_verified(tls_database_url: str) -> None:
    modes = [
        {"sslmode": "require"},
        {"sslmode": "prefer"},
        {"sslmode": "require", "sslaccept": "accept_invalid_certs", "sslcert": "/nowhere"},
    ]
    addresses = [at(tls_database_url, host="localhost", **mode) for mode in modes]
    assert reached(addresses) == [WRITTEN] * 3


def test_the_server_may_ask_for_a_certificate_of_the_client(
    tls_postgres: TlsPostgres, tls_database_url: str, authority: Authority, tmp_path: Path
) -> None:
    url = tls_postgres.certified(tls_database_url)
    with psycopg.connect(tls_database_url) as connection:
        connection.execute("GRANT INSERT, SELECT ON trajectories, llm_call_logs TO certified")
    ca = {"sslmode": "verify-full", "sslrootcert": str(authority.file)}
    own = tmp_path / "client.pem"
    own.write_text(authority.certificate("client"))
    refused, written = reached([at(url, **ca), at(url, sslcert=str(own), sslkey=str(own), **ca)])
    assert "requires a valid client certificate" in refused
    assert written == WRITTEN


def test_what_contradicts_itself_or_cannot_be_read_is_refused_by_name(
    tls_database_url: str, authority: Authority, tmp_path: Path
) -> None:
    ca, nowhere = str(authority.file), str(tmp_path / "nowhere.crt")
    given: list[tuple[dict[str, str], str]] = [
        ({"sslaccept": "strict", "sslmode": "disable"}, "sslmode=verify-full"),
        ({"sslaccept": "no"}, "strict or accept_invalid_certs"),
        ({"sslaccept": "accept_invalid_certs", "sslrootcert": ca}, "remove one of them"),
        ({"sslrootcert": "system", "sslmode": "require"}, "sslmode=verify-full"),
        ({"sslcert": ca}, "sslcert without sslkey"),
        ({"sslidentity": "client.p12"}, "sslidentity, a PKCS 12 file"),
        ({"sslmode": "sometimes"}, "sslmode"),
        ({"sslmode": "verify-full", "sslrootcert": nowhere}, nowhere),
    ]
    said = reached([at(tls_database_url, **query) for query, _ in given])
    for why, (_, expected) in zip(said, given, strict=True):
        assert expected in why
        assert "postgresql://" not in why
