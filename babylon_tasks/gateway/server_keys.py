"""The keys that the gateway sends: to the trainer's endpoint, to W&B, to other servers."""

from __future__ import annotations

import structlog
from pydantic import SecretStr

from babylon_tasks.gateway_settings import upstream_keys
from babylon_tasks.settings import Settings

log = structlog.get_logger(__name__)


class ServerKeys:
    """The keys that are valid now; written by one thread, read by another."""

    def __init__(self, settings: Settings) -> None:
        self._upstream = upstream_keys(settings.gateway_upstream_keys)
        self._trainer = settings.inference_api_key
        self._wandb = settings.wandb_api_key

    def of_upstream(self, server: str) -> str | None:
        """Find the key of a server of BABYLON_GATEWAY_UPSTREAMS; None for one that needs none."""
        return self._upstream.get(server)

    def of_trainer(self, backend: str) -> str:
        """Find the key of the server that has a backend's checkpoints."""
        key = self._wandb if backend == "serverless" else None
        return (key or self._trainer).get_secret_value()

    def trainer_setting(self, backend: str) -> str:
        """Name the setting that this key is from."""
        wandb = backend == "serverless" and self._wandb is not None
        return "WANDB_API_KEY" if wandb else "BABYLON_INFERENCE_API_KEY"

    def replace(self, upstream: SecretStr | None, trainer: SecretStr | None) -> None:
        """Replace the keys; where one is not given, the present one stays."""
        if upstream is not None and (keys := upstream_keys(upstream)) != self._upstream:
            self._upstream = keys
            log.info("upstream_keys.replaced", servers=sorted(keys))
        if trainer is not None and trainer != self._trainer:
            self._trainer = trainer
            log.info("trainer_key.replaced")
