"""Every parameter that Prisma documents is obeyed, translated or refused by name."""

from __future__ import annotations

from urllib.parse import urlencode

import pytest
from pydantic import TypeAdapter, ValidationError

from babylon_tasks.postgres_parameters import for_libpq
from babylon_tasks.server_url import PostgresUrl


@pytest.mark.parametrize(
    ("given", "becomes"),
    [
        # libpq's own stay.
        ({"sslmode": "require"}, {"sslmode": "require"}),
        ({"connect_timeout": "3"}, {"connect_timeout": "3"}),
        (
            {"sslmode": "verify-full", "sslrootcert": "/ca"},
            {"sslmode": "verify-full", "sslrootcert": "/ca"},
        ),
        (
            {"sslcert": "/me.crt", "sslkey": "/me.key", "sslpassword": "x"},
            {"sslcert": "/me.crt", "sslkey": "/me.key", "sslpassword": "x"},
        ),
        ({"sslrootcert": "system"}, {"sslmode": "verify-full", "sslrootcert": "system"}),
        # Verification that was asked for in Prisma's words.
        ({"sslaccept": "strict"}, {"sslmode": "verify-full", "sslrootcert": "system"}),
        (
            {"sslaccept": "strict", "sslmode": "prefer", "sslcert": "/ca"},
            {"sslmode": "verify-full", "sslrootcert": "/ca"},
        ),
        (
            {"sslaccept": "strict", "sslcert": "/prisma", "sslrootcert": "/libpq"},
            {"sslmode": "verify-full", "sslrootcert": "/libpq"},
        ),
        (
            {"sslaccept": "strict", "sslcert": "/me.crt", "sslkey": "/me.key"},
            {
                "sslmode": "verify-full",
                "sslrootcert": "system",
                "sslcert": "/me.crt",
                "sslkey": "/me.key",
            },
        ),
        # Explicitly none.
        ({"sslaccept": "accept_invalid_certs", "sslmode": "require"}, {"sslmode": "require"}),
        ({"sslaccept": "accept_invalid_certs", "sslcert": "/ca"}, {}),
        # Of Prisma's pool, or obeyed where connections are opened; what is empty is not set.
        ({"connection_limit": "5", "pool_timeout": "2", "socket_timeout": "9"}, {}),
        ({"schema": "game", "pgbouncer": "true", "statement_cache_size": "0"}, {}),
        ({"sslmode": "", "sslrootcert": ""}, {}),
    ],
)
def test_libpq_gets_what_the_url_means(given: dict[str, str], becomes: dict[str, str]) -> None:
    assert for_libpq(urlencode(given)) == becomes


@pytest.mark.parametrize(
    ("query", "named"),
    [
        ("sslidentity=a.p12", "sslidentity"),
        ("sslpassword=hidden", "sslpassword"),
        ("sslaccept=strict&sslmode=disable", "sslaccept=strict"),
        ("sslaccept=accept_invalid_certs&sslmode=verify-full", "sslaccept=accept_invalid_certs"),
        ("sslaccept=accept_invalid_certs&sslrootcert=hidden", "sslaccept=accept_invalid_certs"),
        ("sslaccept=", "sslaccept"),
        ("sslaccept=hidden", "sslaccept"),
        ("sslcert=hidden", "sslcert"),
        ("sslrootcert=system&sslmode=require", "sslrootcert=system"),
        ("sslmode=require&sslmode=hidden", "twice"),
    ],
)
def test_what_cannot_be_translated_is_refused_by_name_and_without_its_value(
    query: str, named: str
) -> None:
    with pytest.raises(ValidationError) as refused:
        TypeAdapter(PostgresUrl).validate_python(f"postgresql://u:p@h/b?{query}")
    (why,) = refused.value.errors(include_input=False, include_context=False)
    assert named in why["msg"]
    assert "hidden" not in why["msg"]
