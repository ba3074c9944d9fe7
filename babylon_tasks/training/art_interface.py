"""The interface of the ART that is installed: the only place that knows how releases differ.

It is chosen by what ART offers (``art_names.py``), not by its version. An ART that has neither is
refused before anything is trained.
"""

from __future__ import annotations

import importlib
from functools import cache
from importlib.metadata import PackageNotFoundError, version
from typing import Any

from msgspec import Struct

from babylon_tasks.dataset.training_defaults import CARRIED_BY_SOME
from babylon_tasks.errors import BackendUnavailable
from babylon_tasks.training.art_names import (
    BACKENDS,
    CPU,
    LOCAL,
    NAMES,
    SERVERLESS,
    ArtName,
    missing,
)

_MODEL = ("name", "project", "entity", "base_model", "base_path")
_TRAIN = (
    "model",
    "trajectory_groups",
    "learning_rate",
    "scale_rewards",
    "advantage_balance",
    "max_negative_advantage_importance_sampling_weight",
)


class ArtInterface(Struct, frozen=True):
    """What one interface has, and the ``backends`` that are tested with it.

    ``tokens_metric`` counts the tokens that a step trained on. ``history`` is the class of a
    conversation in ``art.trajectories``. ``model_options`` are ours for ``TrainableModel``, which
    the lineage's name is passed as; ``serverless_options`` those of ``ServerlessBackend.train``.
    With ``needs_prompt_ids`` ART skips answers without the token ids of their prompt; with
    ``trains_last_turn`` a supervised step can leave out the answers inside prompts.
    """

    release: str
    python: str
    backends: tuple[str, ...]
    tokens_metric: str
    history: str
    model_options: tuple[str, ...] = ()
    serverless_options: tuple[str, ...] = ()
    needs_prompt_ids: bool = False
    trains_last_turn: bool = False

    @property
    def carries(self) -> tuple[str, ...]:
        """Those of ``training_defaults.CARRIED_BY_SOME`` that backend serverless passes on."""
        return CARRIED_BY_SOME if "kl_penalty_coef" in self.serverless_options else ()

    @property
    def names(self) -> tuple[ArtName, ...]:
        """Those names of ART by which the interfaces differ."""
        model = (*_MODEL, *self.model_options)
        train = (*_TRAIN, *self.serverless_options)
        return (
            ArtName("art.model:TrainableModel.__init__", BACKENDS, model, whole=True),
            ArtName(f"art.trajectories:{self.history}", BACKENDS, has=("messages_and_choices",)),
            ArtName("art:ServerlessBackend.train", (SERVERLESS,), train, whole=True),
            *(ArtName("art.types:TrainSFTConfig", BACKENDS, has=("assistant_turns",)),)
            * self.trains_last_turn,
        )

    def differs(self) -> list[str]:
        """List how the installed ART differs from this interface."""
        return missing(self.names) or self._other_metric()

    def _other_metric(self) -> list[str]:
        renamed = importlib.import_module("art.serverless.backend")._UPSTREAM_TRAIN_METRIC_KEYS
        found = renamed.get("num_trainable_tokens")
        return [] if found == self.tokens_metric else [f"{self.tokens_metric}, but has {found}"]


ART_0_5_18 = ArtInterface(
    release="0.5.18",
    python="3.11 or 3.12",
    backends=(CPU, LOCAL, SERVERLESS),
    tokens_metric="data/step_trainer_tokens",
    history="History",
)
ART_0_5_23 = ArtInterface(
    release="0.5.23",
    python="3.12",
    backends=(SERVERLESS,),
    tokens_metric="data/step_trainable_assistant_tokens",
    history="LegacyHistory",
    model_options=("run_name",),
    serverless_options=("kl_penalty_coef",),
    needs_prompt_ids=True,
    trains_last_turn=True,
)
INTERFACES = (ART_0_5_18, ART_0_5_23)
GRADIENT_STEPS_METRIC = "data/step_num_gradient_steps"  # ART's TRAIN_GRADIENT_STEPS_KEY
# Of every interface: W&B's service may send the names of another release than its client's.
TOKENS_METRICS = tuple(interface.tokens_metric for interface in INTERFACES)


@cache
def installed() -> ArtInterface:
    """Choose the interface of the installed ART; raises BackendUnavailable where it is unknown."""
    differs = {interface.release: interface.differs() for interface in INTERFACES}
    for interface in INTERFACES:
        if not differs[interface.release]:
            return interface
    lacks = "; ".join(f"of {release} it lacks {_few(differs[release])}" for release in differs)
    raise BackendUnavailable(
        f"openpipe-art {version('openpipe-art')} has an interface that is not known here: {lacks}; "
        f"{_remedy(None)}. Nothing was trained"
    )


def by_version() -> ArtInterface | None:
    """Choose the interface by the installed version, without importing ART; None if unknown."""
    try:
        release = version("openpipe-art")
    except PackageNotFoundError:
        return None
    return next((one for one in INTERFACES if one.release == release), None)


def require(backend: str) -> ArtInterface:
    """Return the interface if the backend works with it; raises BackendUnavailable otherwise."""
    interface = installed()
    lacks = missing([name for name in NAMES if backend in name.used_by])
    if lacks:
        raise BackendUnavailable(
            f"openpipe-art {version('openpipe-art')} lacks what backend {backend} needs: "
            f"{_few(lacks)}; {_remedy(backend)}. Nothing was trained"
        )
    if backend not in interface.backends:
        raise BackendUnavailable(
            f"backend {backend} is not tested with openpipe-art {version('openpipe-art')}; "
            f"{_remedy(backend)}. Nothing was trained"
        )
    return interface


def _few(names: list[str]) -> str:
    return ", ".join(names[:3]) + (f" and {len(names) - 3} more" if len(names) > 3 else "")


def _remedy(backend: str | None) -> str:
    tested = " or ".join(
        f"openpipe-art=={interface.release} with Python {interface.python}"
        for interface in INTERFACES
        if backend is None or backend in interface.backends
    )
    return f"install {tested} (docs/art.md)"


def make_model(lineage: str, **fields: Any) -> Any:
    """Make ART's model of a lineage, whose name it has in every respect."""
    from art import TrainableModel

    options: dict[str, Any] = dict.fromkeys(installed().model_options, lineage)
    return TrainableModel(name=lineage, **fields, **options)
