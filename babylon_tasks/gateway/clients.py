"""Whose keys the gateway takes; they change without a restart where they are a file."""

from __future__ import annotations

import hmac
from hashlib import sha256

import structlog
from msgspec import Struct
from pydantic import SecretStr, model_validator

from babylon_tasks.agent_settings import DEFAULT_KEY
from babylon_tasks.errors import SettingsError
from babylon_tasks.gateway_settings import client_keys
from babylon_tasks.read_settings import EnvironmentSettings, read

# A client without a name of its own: the one key that all agents have.
_AGENTS = "agents"
log = structlog.get_logger(__name__)


class Client(Struct, frozen=True):
    """Who sent a key, and the agent named after it, as in ``KEY:agent-7``."""

    name: str
    agent: str | None = None


class _Keys(EnvironmentSettings):
    gateway_keys: SecretStr | None = None
    inference_api_key: SecretStr = SecretStr(DEFAULT_KEY)

    @model_validator(mode="after")
    def _usable(self) -> _Keys:
        client_keys(self.gateway_keys)
        return self


class ClientKeys:
    """The keys that are valid now, as digests."""

    def __init__(self, gateway_keys: SecretStr | None, inference_api_key: SecretStr) -> None:
        self._digests = _digests(gateway_keys, inference_api_key)
        self._named = gateway_keys is not None
        self._failed = False

    def client(self, authorization: bytes) -> Client | None:
        """Find the client of a header; the time it takes does not depend on the key."""
        token = authorization.removeprefix(b"Bearer ")
        key, colon, agent = token.partition(b":")
        whole, before = self._client(token), self._client(key)
        if whole is not None:
            return Client(whole)
        if before is not None and colon:
            return Client(before, agent.decode("latin-1"))
        return None

    def reload(self) -> None:
        """Read the keys again; those known stay where they cannot be read."""
        try:
            found = read(_Keys)
        except SettingsError as error:
            if not self._failed:
                log.warning("gateway_keys.ignored", why=str(error))
            self._failed = True
            return
        self._failed = False
        if found.gateway_keys is None and self._named:
            return  # a file that is being replaced must not let everybody's key in
        digests = _digests(found.gateway_keys, found.inference_api_key)
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
    gateway_keys: SecretStr | None, inference_api_key: SecretStr
) -> list[tuple[str, bytes]]:
    pairs = client_keys(gateway_keys) or [(_AGENTS, inference_api_key.get_secret_value())]
    return [(name, sha256(key.encode()).digest()) for name, key in pairs]
