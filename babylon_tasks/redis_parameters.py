"""Parameters of REDIS_URL: how the server is verified. PURE.

Celery refuses `rediss://` without them, kombu and Flower do not verify, redis-py does: here they
mean one thing for all, and what one of them would ignore is refused.
"""

from __future__ import annotations

import ssl
from typing import Any
from urllib.parse import parse_qsl

FILES = ("ssl_ca_certs", "ssl_certfile", "ssl_keyfile")
_OF_THE_ADDRESS = frozenset(
    ("username", "userid", "password", "host", "hostname", "port", "path", "db", "virtual_host")
)
_VERIFIES = {
    "required": ssl.CERT_REQUIRED,
    "CERT_REQUIRED": ssl.CERT_REQUIRED,
    "none": ssl.CERT_NONE,
    "CERT_NONE": ssl.CERT_NONE,
}
_FLAGS = {"true": True, "false": False}


def tls_options(scheme: str, query: str) -> dict[str, Any]:
    """Return redis-py's options for TLS, empty for `redis://`: by default everything is verified.

    Raises ValueError, without a value, for other parameters.
    """
    pairs = parse_qsl(query, keep_blank_values=True)
    given = dict(pairs)
    if _OF_THE_ADDRESS & given.keys():
        raise ValueError(
            "REDIS_URL has user, password, host or database as a parameter: write them before the "
            "question mark, as in redis://:PASSWORD@host:6379/0"
        )
    if len(given) < len(pairs):
        raise ValueError("REDIS_URL has a parameter twice: remove one of them")
    if given.keys() - {"ssl_cert_reqs", "ssl_check_hostname", *FILES}:
        raise ValueError(
            "REDIS_URL has a parameter that is not one of ssl_ca_certs, ssl_certfile, ssl_keyfile, "
            "ssl_cert_reqs and ssl_check_hostname: remove it"
        )
    if scheme != "rediss":
        if given:
            raise ValueError("REDIS_URL has parameters of TLS: begin it with rediss://")
        return {}
    try:
        verifies = _VERIFIES[given.get("ssl_cert_reqs", "required")]
        checks = _FLAGS[given.get("ssl_check_hostname", "true").lower()]
    except KeyError:
        raise ValueError(
            "in REDIS_URL ssl_cert_reqs is required (the default) or none, and ssl_check_hostname "
            "true (the default) or false"
        ) from None
    files = {name: given[name] for name in FILES if given.get(name)}
    return {"ssl_cert_reqs": verifies, "ssl_check_hostname": checks, **files}
