"""Adapters of a few checkpoints in the network; the one used least recently makes room."""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import torch
from peft import PeftConfig
from safetensors.torch import load_file

_MOST = 4  # about 10 MB each at rank 8
# What of an adapter's configuration says nothing about its shape or its effect.
_ELSEWHERE = {"auto_mapping", "base_model_name_or_path", "inference_mode", "peft_version"}
_ELSEWHERE |= {"revision", "task_type"}


class ResidentAdapters:
    """The adapters by step; peft stores each in modules of its own, under a name.

    Making those modules takes a second, new weights for them a hundredth of it. So where there is
    no more room a checkpoint of the same kind takes over the modules of another.
    """

    def __init__(self, network: Any, place: torch.device) -> None:
        self._network, self._place = network, place
        self._names: OrderedDict[int, str] = OrderedDict()

    def __contains__(self, step: int) -> bool:
        return step in self._names

    def use(self, step: int) -> str:
        """Return the name of a step's adapter, which is the most recently used one from now on."""
        self._names.move_to_end(step)
        return self._names[step]

    def read(self, step: int, folder: Path) -> None:
        """Read a step's adapter from a checkpoint's folder; another step's makes room for it."""
        if len(self._names) < _MOST:
            self._add(step, folder)
            return
        oldest, name = next(iter(self._names.items()))
        weights = load_file(str(folder / "adapter_model.safetensors"))
        own = self._parameters(name)
        alike = _shapes(own) == _shapes(weights) and _kind(
            self._network.peft_config[name]
        ) == _kind(PeftConfig.from_pretrained(str(folder)))
        del self._names[oldest]
        if alike:
            for key, parameter in own.items():
                parameter.copy_(weights[key])
            self._names[step] = name
        else:
            self._network.delete_adapter(name)
            self._add(step, folder)

    def delete(self, step: int) -> None:
        """Delete a step's adapter, if it is here; none may be in use."""
        name = self._names.pop(step, None)
        if name is not None:
            self._network.delete_adapter(name)

    def _add(self, step: int, folder: Path) -> None:
        # Not the step's number: later the modules may be another step's.
        names = (f"resident{number}" for number in range(_MOST))
        name = next(name for name in names if name not in self._names.values())
        self._network.load_adapter(
            str(folder),
            adapter_name=name,
            is_trainable=False,
            torch_device=str(self._place),  # peft's own choice is any card there is
        )
        self._names[step] = name

    def _parameters(self, name: str) -> dict[str, torch.Tensor]:
        return {
            key.replace(f".{name}.", "."): parameter.data
            for key, parameter in self._network.named_parameters()
            if f".{name}." in key
        }


def _shapes(weights: Mapping[str, torch.Tensor]) -> dict[str, torch.Size]:
    return {key: part.shape for key, part in weights.items()}


def _kind(config: PeftConfig) -> dict[str, Any]:
    return {key: value for key, value in config.to_dict().items() if key not in _ELSEWHERE}
