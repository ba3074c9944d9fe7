"""Read the keys again regularly, so that those in files change without a restart."""

from __future__ import annotations

import structlog
from pydantic import SecretStr, model_validator

from babylon_tasks.errors import SettingsError
from babylon_tasks.gateway.clients import ClientKeys
from babylon_tasks.gateway.server_keys import ServerKeys
from babylon_tasks.gateway_settings import client_keys, upstream_keys
from babylon_tasks.read_settings import EnvironmentSettings, read

log = structlog.get_logger(__name__)


class _Keys(EnvironmentSettings):
    gateway_keys: SecretStr | None = None
    gateway_upstream_keys: SecretStr | None = None
    inference_api_key: SecretStr | None = None

    @model_validator(mode="after")
    def _usable(self) -> _Keys:
        client_keys(self.gateway_keys)
        upstream_keys(self.gateway_upstream_keys)
        return self


class KeyFiles:
    """Gives the keys of clients and servers to those who use them, whenever they change."""

    def __init__(self, clients: ClientKeys, servers: ServerKeys) -> None:
        self._clients = clients
        self._servers = servers
        self._failed = False

    def reload(self) -> None:
        """Read all keys; those known stay where they cannot be read, or are not there.

        A file that is being replaced must neither let everybody's key in nor take a server's away.
        """
        try:
            found = read(_Keys)
        except SettingsError as error:
            if not self._failed:
                log.warning("gateway_keys.ignored", why=str(error))
            self._failed = True
            return
        self._failed = False
        self._clients.replace(found.gateway_keys, found.inference_api_key)
        self._servers.replace(found.gateway_upstream_keys, found.inference_api_key)
