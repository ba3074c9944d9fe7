"""The dashboard as a process: its parts, from the settings to the last answer."""

from __future__ import annotations

import structlog

from babylon_tasks.dashboard.app import MOST_REQUESTS, DashboardApp
from babylon_tasks.dashboard.login import Login
from babylon_tasks.dashboard.pages import Pages
from babylon_tasks.errors import SettingsError
from babylon_tasks.http_server.server import HttpServer
from babylon_tasks.settings import Settings

log = structlog.get_logger(__name__)
_STOP_SECONDS = 5  # nobody loses anything by a page that is not finished


class Dashboard:
    """The only state that it has is how many logins have failed."""

    def __init__(self, settings: Settings) -> None:
        if settings.dashboard_login is None:
            raise SettingsError(
                "the dashboard does not start: without a login it would show every prompt and "
                "answer to everyone. Set BABYLON_DASHBOARD_LOGIN=user:password, in the environment "
                "or as a file in BABYLON_SECRETS_DIR"
            )
        self._app = DashboardApp(Login(settings.dashboard_login), Pages(settings))
        self._server = HttpServer(
            self._app,
            host=settings.dashboard_host,
            port=settings.dashboard_port,
            requests=MOST_REQUESTS,
            stop_seconds=_STOP_SECONDS,
            name="dashboard",
        )

    @property
    def port(self) -> int:
        """The port that it listens on."""
        return self._server.port

    def start(self) -> None:
        """Listen; raises SettingsError when the port is taken."""
        try:
            self._server.start()
        except OSError as error:
            raise SettingsError(
                f"the dashboard cannot listen on {self._server.host} port {self._server.port}: "
                f"{error.strerror}; another one may be running, or set BABYLON_DASHBOARD_PORT"
            ) from error
        log.info("dashboard.opened", host=self._server.host, port=self.port)

    def stop(self) -> None:
        """Stop listening and finish the page that is being made."""
        self._server.stop()
        self._app.close()
        log.info("dashboard.closed")
