"""TLS to Redis is verified unless REDIS_URL says otherwise, and says no more than that."""

from __future__ import annotations

import ssl
from typing import Any

import pytest
from pydantic import TypeAdapter, ValidationError

from babylon_tasks.redis_parameters import tls_options
from babylon_tasks.server_url import RedisUrl

VERIFIED = {"ssl_cert_reqs": ssl.CERT_REQUIRED, "ssl_check_hostname": True}


@pytest.mark.parametrize(
    ("scheme", "query", "becomes"),
    [
        ("redis", "", {}),
        ("rediss", "", VERIFIED),
        ("rediss", "ssl_cert_reqs=required", VERIFIED),
        ("rediss", "ssl_cert_reqs=CERT_REQUIRED", VERIFIED),
        ("rediss", "ssl_ca_certs=%2Fca.crt", {**VERIFIED, "ssl_ca_certs": "/ca.crt"}),
        (
            "rediss",
            "ssl_certfile=/me.crt&ssl_keyfile=/me.key",
            {**VERIFIED, "ssl_certfile": "/me.crt", "ssl_keyfile": "/me.key"},
        ),
        ("rediss", "ssl_cert_reqs=none", {**VERIFIED, "ssl_cert_reqs": ssl.CERT_NONE}),
        ("rediss", "ssl_cert_reqs=CERT_NONE", {**VERIFIED, "ssl_cert_reqs": ssl.CERT_NONE}),
        ("rediss", "ssl_check_hostname=false", {**VERIFIED, "ssl_check_hostname": False}),
        ("rediss", "ssl_ca_certs=", VERIFIED),
    ],
)
def test_what_a_url_means(scheme: str, query: str, becomes: dict[str, Any]) -> None:
    assert tls_options(scheme, query) == becomes


@pytest.mark.parametrize(
    ("url", "named"),
    [
        ("redis://h/0?ssl_ca_certs=hidden", "begin it with rediss://"),
        ("rediss://h/0?ssl_cert_reqs=optional", "ssl_cert_reqs is required (the default) or none"),
        ("rediss://h/0?ssl_cert_reqs=", "ssl_cert_reqs is required (the default) or none"),
        ("rediss://h/0?ssl_check_hostname=hidden", "ssl_check_hostname"),
        ("rediss://h/0?ssl_ca_certs=a&ssl_ca_certs=hidden", "twice"),
        # What some of the clients would obey and others ignore.
        ("rediss://h/0?ssl_ca_path=hidden", "not one of"),
        ("redis://h/0?socket_timeout=hidden", "not one of"),
        ("redis://h/0?credential_provider=hidden", "not one of"),
    ],
)
def test_what_means_nothing_to_some_client_is_refused_without_its_value(
    url: str, named: str
) -> None:
    with pytest.raises(ValidationError) as refused:
        TypeAdapter(RedisUrl).validate_python(url)
    (why,) = refused.value.errors(include_input=False, include_context=False)
    assert named in why["msg"]
    assert "hidden" not in why["msg"]
