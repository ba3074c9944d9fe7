"""Listen where the settings say, and bring what agents ask to the vLLM that ART has started."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Iterable
from functools import partial
from pathlib import Path

from babylon_tasks.addresses import host_and_port
from babylon_tasks.errors import BackendUnavailable
from babylon_tasks.http_server.server import HttpServer
from babylon_tasks.training.inference.limits import Limits
from babylon_tasks.training.trainer_start import StartTrainer
from babylon_tasks.training.vllm_front.app import FrontApp
from babylon_tasks.training.vllm_front.gate import Gate
from babylon_tasks.training.vllm_front.upstream import Vllm

_STOP_SECONDS = 10


class VllmFront:
    """The address of one lineage; closed until ``answer_by``.

    ``load`` is called in the event loop that makes it, the trainer's.
    """

    def __init__(
        self, start: StartTrainer, checkpoints: Path, load: Callable[[int], Awaitable[None]]
    ) -> None:
        loop = asyncio.get_running_loop()
        limits = Limits(start.inference_max_requests, start.inference_timeout_seconds)
        self.gate = Gate()
        self._app = FrontApp(
            start.lineage,
            checkpoints,
            api_key=start.inference_api_key,
            limits=limits,
            gate=self.gate,
            load=partial(_in_loop, loop, load),
        )
        self._server = HttpServer(
            self._app,
            host=start.inference_host,
            port=start.inference_port,
            requests=limits.requests,
            stop_seconds=_STOP_SECONDS,
            name="inference",
            lifespan="on",
        )

    @property
    def base_url(self) -> str:
        """The address with the port that it listens on."""
        return f"http://{host_and_port(self._server.host, self._server.port)}/v1"

    @property
    def vllm(self) -> Vllm | None:
        """The one that requests go to."""
        return self._app.vllm

    @property
    def loaded(self) -> frozenset[int]:
        """The checkpoints that vLLM can answer as."""
        return self._app.loaded

    def start(self) -> None:
        """Bind and serve; raises BackendUnavailable when the port is taken."""
        try:
            self._server.start()
        except OSError as error:
            raise BackendUnavailable(
                f"inference cannot listen on {self._server.host} port {self._server.port}: "
                f"{error.strerror}; another trainer may be running, or set BABYLON_INFERENCE_PORT"
            ) from error

    def answer_by(self, vllm: Vllm | None, loaded: Iterable[int]) -> None:
        """Pass requests to this vLLM, which can answer as these checkpoints."""
        self._app.vllm, self._app.loaded = vllm, frozenset(loaded)

    async def lives(self) -> bool:
        """Check whether vLLM answers."""
        return self._app.vllm is not None and await self._app.vllm.lives()

    def stop(self) -> None:
        """Stop serving and wait for the thread."""
        self._server.stop()


async def _in_loop(
    loop: asyncio.AbstractEventLoop, load: Callable[[int], Awaitable[None]], step: int
) -> None:
    async def called() -> None:
        await load(step)

    await asyncio.wrap_future(asyncio.run_coroutine_threadsafe(called(), loop))
