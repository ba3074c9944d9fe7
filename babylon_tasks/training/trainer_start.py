"""How a trainer is started: what it gets first, and what it answers once it serves."""

from __future__ import annotations

from msgspec import Struct

from babylon_tasks.dataset.training_defaults import CARRIED_BY_SOME
from babylon_tasks.settings import Settings


class StartTrainer(Struct, frozen=True, tag=True):
    """First line to a trainer: its configuration; answered by ``TrainerReady``.

    Secrets are sent here, never in arguments or environment. Without ``serves`` nothing listens:
    a step is replayed beside the trainer that does (`cpu`).
    """

    backend: str
    lineage: str
    base_model: str
    project: str
    data_dir: str
    inference_host: str
    inference_port: int
    inference_api_key: str
    base_model_aliases: tuple[str, ...] = ()
    inference_max_requests: int = 256
    inference_timeout_seconds: float = 600.0
    torch_device: str = "auto"
    torch_threads: int | None = None
    entity: str | None = None
    wandb_api_key: str | None = None
    wandb_base_url: str | None = None
    serves: bool = True


class ComputesOn(Struct, frozen=True):
    """The device of a trainer: torch's name of it, the card's, and a line for people."""

    device: str
    card: str
    text: str


class TrainerReady(Struct, frozen=True, tag=True):
    """First line of a trainer: the model is loaded and inference is served.

    ``branches``: a step may start from another checkpoint than the newest one. ``folder_id`` and
    ``lock_name``: of the data folder, None where the checkpoints are elsewhere. ``computes_on``
    is None where another process, or another machine, computes. ``longest_row``: the tokens of a
    packed row that memory suffices for, None where that is not known. ``carries``: those options
    of ``training_defaults.CARRIED_BY_SOME`` that reach the backend. ``own_url``: where this machine
    asks for inference, if not at ``base_url``, as agents do.
    """

    backend: str
    base_url: str
    inference_name: str  # of step 0, e.g. "babylon@0"
    branches: bool = False
    folder_id: str | None = None
    lock_name: str | None = None
    computes_on: ComputesOn | None = None
    longest_row: int | None = None
    carries: tuple[str, ...] = CARRIED_BY_SOME
    own_url: str | None = None


def start_request(settings: Settings, *, backend: str, serves: bool) -> StartTrainer:
    """Make the first line to a trainer from the settings."""
    key = settings.wandb_api_key
    return StartTrainer(
        backend=backend,
        lineage=settings.lineage,
        base_model=settings.base_model,
        base_model_aliases=settings.base_model_names[1:],
        project=settings.project,
        entity=settings.entity,
        data_dir=str(settings.data_dir.absolute()),
        inference_host=settings.inference_host,
        inference_port=settings.inference_port,
        inference_api_key=settings.inference_api_key.get_secret_value(),
        inference_max_requests=settings.inference_max_requests,
        inference_timeout_seconds=settings.inference_timeout_seconds,
        torch_device=settings.torch_device,
        torch_threads=settings.torch_threads,
        wandb_api_key=key.get_secret_value() if key else None,
        wandb_base_url=settings.wandb_base_url,
        serves=serves,
    )
