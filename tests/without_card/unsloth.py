"""Stand-in for unsloth, which needs a card: a model of one number, kept as an adapter is.

ART's own service runs on it: ``art.unsloth.service`` and ``art.unsloth.train``, in a child process
of ART's own. Only what touches a card is replaced.
"""

from __future__ import annotations

import builtins
import json
from pathlib import Path
from typing import Any

import torch
from safetensors.torch import load_file, save_file

WEIGHTS = "adapter_model.safetensors"


class Model(torch.nn.Module):
    """Weights that training adds its learning rate to."""

    def __init__(self, weight: float) -> None:
        super().__init__()
        self.weight = torch.nn.Parameter(torch.tensor([weight]))
        self.peft_config: dict[str, Any] | None = None
        self.active_adapter = "default"

    def save_pretrained(self, folder: str) -> None:
        """Write it in the layout of peft."""
        Path(folder).mkdir(parents=True, exist_ok=True)
        save_file({"weight": self.weight.detach()}, f"{folder}/{WEIGHTS}")
        (Path(folder) / "adapter_config.json").write_text(json.dumps({"r": 8}))


class FastLanguageModel:
    """unsloth's way to a model: of a checkpoint's folder, or a base model's."""

    @staticmethod
    def from_pretrained(*, model_name: str, **_: Any) -> tuple[Model, None]:
        _stay_off_the_card()
        adapter = Path(model_name) / WEIGHTS
        if not adapter.exists():
            return Model(0.0), None
        model = Model(float(load_file(adapter)["weight"][0]))
        model.peft_config = {"default": {}}
        return model, None

    @staticmethod
    def get_peft_model(model: Model, **_: Any) -> Model:
        model.peft_config = {"default": {}}
        return model


def _stay_off_the_card() -> None:
    from art.unsloth import service, train

    def reload_to_gpu(self: Any) -> None:
        self._is_offloaded = False

    torch.cuda.synchronize = lambda *_: None  # type: ignore[assignment]
    train.UnslothTrainContext.reload_to_gpu = reload_to_gpu  # type: ignore[assignment]
    # Twelve collections of garbage in each step free memory of a card.
    service.gc_and_empty_cuda_cache = train.gc_and_empty_cuda_cache = lambda *_: None
    # A data set of ten million rows, which nobody reads, takes gigabytes.
    train.range = lambda *ends: builtins.range(*(min(end, 1000) for end in ends))  # type: ignore[attr-defined]
