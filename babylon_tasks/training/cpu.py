"""ART's LocalBackend with the model service of ``cpu_service.py``.

Tokenising, advantages, packing, step numbers and checkpoint layout are ART's own code.
"""

from __future__ import annotations

import random
from typing import Any

from art.local import LocalBackend
from art.utils.output_dirs import get_model_dir

from babylon_tasks.training.cpu_service import CPUService
from babylon_tasks.training.device import Device
from babylon_tasks.training.inference.limits import Limits
from babylon_tasks.training.packed_rows import require_as_sampled


class CPUBackend(LocalBackend):
    """LocalBackend on transformers; only the model service and row packing differ."""

    def __init__(self, *, path: str, limits: Limits | None, device: Device) -> None:
        super().__init__(in_process=True, path=path)
        self._device = device
        self._limits = limits  # of inference
        self._supports_result_packing = True  # a group's shared prompt is computed once
        self._packed_sequence_length_requires_chunk_alignment = False

    async def _get_service(self, model: Any) -> Any:
        if model.name not in self._services:
            self._services[model.name] = CPUService(
                model.name,
                model.base_model,
                get_model_dir(model=model, art_path=self._path),
                self._limits,
                self._device,
            )
        return self._services[model.name]

    def _get_packed_tensors(
        self, model: Any, trajectory_groups: Any, *args: Any, **kwargs: Any
    ) -> Any:
        # ART looks a tokenizer up by the base model's name; ours is in a local directory.
        service: Any = self._services[model.name]
        self._tokenizers[(model.base_model, None)] = service.tokenizer
        self._image_processors[model.base_model] = None
        random.seed(service.seed)  # ART shuffles with the global generator
        packed = super()._get_packed_tensors(model, trajectory_groups, *args, **kwargs)
        if packed is not None:
            require_as_sampled(packed, trajectory_groups)
        return packed
