"""One trainer of backend ``serverless`` for these tests, and W&B's peer on the loopback."""

from __future__ import annotations

from collections.abc import Iterator

import pytest
from recorded import SECRETS, settings_at_wandb
from wandb_peer import WandbPeer

from babylon_tasks.training.supervisor import Trainer

KEY = SECRETS["WANDB_API_KEY"]


@pytest.fixture(scope="session", autouse=True)
def _no_price_map() -> Iterator[None]:
    """`import art` must not ask the network for the prices of models."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("LITELLM_LOCAL_MODEL_COST_MAP", "True")
        yield


@pytest.fixture(scope="package")
def service() -> Iterator[WandbPeer]:
    """The peer, whatever it holds."""
    with WandbPeer(KEY) as peer:
        yield peer


@pytest.fixture(scope="package")
def remote(service: WandbPeer, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Trainer]:
    """The trainer; importing ART takes seconds."""
    folder = tmp_path_factory.mktemp("serverless")
    settings = settings_at_wandb(folder, service.url, KEY)
    with Trainer(settings) as started:
        with pytest.MonkeyPatch.context() as patch:
            patch.setenv("WANDB_API_KEY", KEY)  # as in the worker's own environment
            started.ready()
        yield started


@pytest.fixture
def peer(service: WandbPeer) -> WandbPeer:
    """The peer, which holds one checkpoint and has forgotten what it was asked."""
    service.forget()
    return service
