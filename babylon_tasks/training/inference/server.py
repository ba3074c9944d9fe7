"""Serve a lineage's checkpoints: what the trainer answers agents, behind the bounded server."""

from __future__ import annotations

from babylon_tasks.errors import BackendUnavailable
from babylon_tasks.http_server.connections import Connections
from babylon_tasks.http_server.server import HttpServer
from babylon_tasks.training.inference.app import App
from babylon_tasks.training.inference.chat import Chat
from babylon_tasks.training.inference.limits import Limits
from babylon_tasks.training.policy import Policy

_STOP_SECONDS = 10


class InferenceServer:
    """Serve one lineage's checkpoints; ``port`` 0 chooses one."""

    def __init__(
        self,
        policy: Policy,
        lineage: str,
        *,
        host: str,
        port: int,
        api_key: str,
        limits: Limits | None = None,
    ) -> None:
        limits = limits or Limits()
        self._chat = Chat(policy, lineage, limits)
        self._server = HttpServer(
            App(self._chat, api_key),
            host=host,
            port=port,
            requests=limits.requests,
            stop_seconds=_STOP_SECONDS,
            name="inference",
        )

    @property
    def host(self) -> str:
        """The address that it listens on."""
        return self._server.host

    @property
    def port(self) -> int:
        """The port that it listens on."""
        return self._server.port

    @property
    def connections(self) -> Connections:
        """All open connections."""
        return self._server.connections

    @property
    def in_progress(self) -> int:
        """How many requests are being read, waiting or answered."""
        return self._chat.in_progress

    @property
    def sampling(self) -> int:
        """How many of them are in the batch that is sampled now."""
        return self._chat.sampling

    def start(self) -> None:
        """Bind and serve; raises BackendUnavailable when the port is taken."""
        try:
            self._server.start()
        except OSError as error:
            raise BackendUnavailable(
                f"inference cannot listen on {self.host} port {self.port}: {error.strerror}; "
                "another trainer may be running, or set BABYLON_INFERENCE_PORT"
            ) from error

    def stop(self) -> None:
        """Stop serving and wait for the thread."""
        self._server.stop()
        self._chat.close()
