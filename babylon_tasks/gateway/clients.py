"""Whose keys the gateway takes; they change without a restart where they are a file."""

from __future__ import annotations

import hmac
from hashlib import sha256

import structlog
from msgspec import Struct
from pydantic import SecretStr

from babylon_tasks.gateway_settings import client_keys
from babylon_tasks.http_server.bearer import sent_key

# A client without a name of its own: the one key that all agents have.
_AGENTS = "agents"
log = structlog.get_logger(__name__)


class Client(Struct, frozen=True):
    """Who sent a key, and the agent named after it, as in ``KEY:agent-7``."""

    name: str
    agent: str | None = None


class ClientKeys:
    """The keys that are valid now, as digests."""

    def __init__(self, gateway_keys: SecretStr | None, inference_api_key: SecretStr) -> None:
        self._digests = _digests(gateway_keys, inference_api_key)
        self._named = gateway_keys is not None

    def client(self, authorization: bytes) -> Client | None:
        """Find the client of a header; the time it takes does not depend on the key."""
        token = sent_key(authorization)
        key, colon, agent = token.partition(b":")
        whole, before = self._client(token), self._client(key)
        if whole is not None:
            return Client(whole)
        if before is not None and colon:
            return Client(before, agent.decode("latin-1"))
        return None

    def replace(self, gateway_keys: SecretStr | None, inference_api_key: SecretStr | None) -> None:
        """Replace the keys; where none are given, the present ones stay valid."""
        if gateway_keys is None and (self._named or inference_api_key is None):
            return
        self._named |= gateway_keys is not None
        digests = _digests(gateway_keys, inference_api_key)
        if digests != self._digests:
            self._digests = digests
            log.info("gateway_keys.replaced", clients=sorted({name for name, _ in digests}))

    def _client(self, key: bytes) -> str | None:
        given, found = sha256(key).digest(), None
        for name, digest in self._digests:  # all of them, whichever it is
            if hmac.compare_digest(given, digest):
                found = name
        return found


def _digests(
    gateway_keys: SecretStr | None, inference_api_key: SecretStr | None
) -> list[tuple[str, bytes]]:
    pairs = client_keys(gateway_keys)
    if not pairs and inference_api_key is not None:
        pairs = [(_AGENTS, inference_api_key.get_secret_value())]
    return [(name, sha256(key.encode()).digest()) for name, key in pairs]
