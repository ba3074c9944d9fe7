"""What to do about a handshake with Redis that failed, by what OpenSSL found."""

from __future__ import annotations

import ssl
from collections.abc import Iterator

_EXPIRED, _NOT_YET, _OTHER_NAMES = 10, 9, (62, 64)  # X509_V_ERR_…: x509_vfy.h


def tls_advice(error: BaseException) -> str | None:
    """Return what to do, or None where TLS was not the cause."""
    for found in _causes(error):
        if isinstance(found, ssl.SSLCertVerificationError):
            return _unverified(found.verify_code)
        if isinstance(found, ssl.SSLEOFError | ssl.SSLZeroReturnError):
            return None  # the connection ended
        if isinstance(found, ssl.SSLError):
            return _unreadable(found.reason or "")
    return None


def _unverified(code: int) -> str:
    if code == _EXPIRED:
        return "it has expired; renew it in the server"
    if code == _NOT_YET:
        return "it is not valid yet; check the clocks of both machines"
    if code in _OTHER_NAMES:
        return "the host in REDIS_URL must be a name that the certificate has"
    return (
        "ssl_ca_certs in REDIS_URL must name the file of the authority that signed the server's "
        "certificate"
    )


def _unreadable(reason: str) -> str:
    if "CERTIFICATE" in reason and "ALERT" not in reason:
        return "the files in REDIS_URL's ssl_ parameters must be certificates and keys in PEM"
    if "ALERT" in reason:
        return "the server refuses this client: it may want ssl_certfile and ssl_keyfile"
    return "REDIS_URL needs the server's port with TLS, or redis:// where that port has no TLS"


def _causes(error: BaseException | None) -> Iterator[BaseException]:
    while error is not None:
        yield error
        error = error.__cause__ or error.__context__
