"""The gateway as a process: its parts, from the settings to the last answer."""

from __future__ import annotations

import math

import structlog

from babylon_tasks.errors import SettingsError
from babylon_tasks.gateway.app import GatewayApp
from babylon_tasks.gateway.capture import Capture
from babylon_tasks.gateway.clients import ClientKeys
from babylon_tasks.gateway.key_files import KeyFiles
from babylon_tasks.gateway.pointer import Pointer
from babylon_tasks.gateway.routes import Routes
from babylon_tasks.gateway.server_keys import ServerKeys
from babylon_tasks.gateway.servers import Servers
from babylon_tasks.http_server.server import HttpServer
from babylon_tasks.settings import Settings

log = structlog.get_logger(__name__)


class Gateway:
    """One replica; it keeps nothing that another one needs."""

    def __init__(self, settings: Settings) -> None:
        self._settings = settings
        keys = ClientKeys(settings.gateway_keys, settings.inference_api_key)
        server_keys = ServerKeys(settings)
        self.pointer = Pointer(settings, also=KeyFiles(keys, server_keys).reload)
        routes = Routes(settings, lambda: self.pointer.now)
        self._capture = Capture(settings)
        self._server = HttpServer(
            GatewayApp(
                settings,
                keys,
                routes,
                Servers(),
                server_keys,
                self._capture,
                lambda: self.pointer.lacking,
                self.pointer.clock,
            ),
            host=settings.gateway_host,
            port=settings.gateway_port,
            requests=settings.gateway_max_requests,
            stop_seconds=math.ceil(settings.shutdown_seconds),
            name="gateway",
            lifespan="on",
        )

    @property
    def port(self) -> int:
        """The port that it listens on."""
        return self._server.port

    def start(self) -> None:
        """Read the serving checkpoint, then listen; raises SettingsError when the port is taken."""
        self.pointer.start()
        try:
            self._server.start()
        except OSError as error:
            self.pointer.stop()
            raise SettingsError(
                f"the gateway cannot listen on {self._server.host} port {self._server.port}: "
                f"{error.strerror}; another one may be running, or set BABYLON_GATEWAY_PORT"
            ) from error
        self._capture.start()
        log.info("gateway.opened", host=self._server.host, port=self.port)

    def stop(self) -> None:
        """Stop listening, finish what is being answered, and write what was captured of it."""
        self._server.stop()
        self.pointer.stop()
        self._capture.stop()
        log.info("gateway.closed")
