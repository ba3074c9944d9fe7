"""The dashboard's login: HTTP's own, since that needs no cookie, no form and no script."""

from __future__ import annotations

import binascii
import hmac
from base64 import b64decode

from pydantic import SecretStr

from babylon_tasks.http_server.logins import Logins
from babylon_tasks.http_server.refusals import Refused

_ASK = {"www-authenticate": 'Basic realm="babylon-tasks", charset="UTF-8"'}


class Login:
    """One user and password, which cannot be guessed at speed."""

    def __init__(self, expected: SecretStr, logins: Logins | None = None) -> None:
        self._expected = expected.get_secret_value().encode()
        self._logins = Logins() if logins is None else logins

    def require(self, address: str, header: bytes | None) -> None:
        """Raise Refused for a request of an address without the login, or after many failures."""
        if header is None:
            raise Refused(401, "this page needs a login", headers=_ASK)
        if seconds := self._logins.pause(address):
            raise Refused(
                429,
                f"too many failed logins from your address: try again in {seconds} s",
                headers={"retry-after": str(seconds)},
            )
        if not hmac.compare_digest(_sent(header), self._expected):
            self._logins.failed(address)
            raise Refused(401, "wrong login; it is that of BABYLON_DASHBOARD_LOGIN", headers=_ASK)
        self._logins.succeeded(address)


def _sent(header: bytes) -> bytes:
    """Return what was sent as user:password; empty where it is nothing of the kind."""
    kind, _, encoded = header.partition(b" ")
    if kind.lower() != b"basic":
        return b""
    try:
        return b64decode(encoded.strip(), validate=True)
    except (binascii.Error, ValueError):
        return b""
