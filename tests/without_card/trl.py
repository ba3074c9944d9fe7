"""Stand-in for trl, whose trainer needs a model on a card: each row moves the weights a bit."""

from __future__ import annotations

from typing import Any

import torch

FAILS_ABOVE = 100.0  # a learning rate


class GRPOConfig:
    """The arguments of a trainer."""

    def __init__(self, **fields: Any) -> None:
        self.__dict__.update(fields)


class _Accelerator:
    device = torch.device("cpu")

    def unwrap_model(self, model: Any, **_: Any) -> Any:
        return model


class GRPOTrainer:
    """What ART uses of trl's: it waits for rows, takes a gradient step of each, logs, saves."""

    def __init__(self, *, model: Any, args: GRPOConfig, **_: Any) -> None:
        self.model = model
        self.args = args
        self.accelerator = _Accelerator()
        self.optimizer: Any = None
        self._metrics: Any = None

    def create_optimizer(self) -> None:
        self.optimizer = torch.optim.SGD(self.model.parameters(), lr=0.0)

    def _prepare_inputs(self, _: Any) -> Any:
        raise NotImplementedError  # ART's takes its place

    def compute_loss(self, *_: Any, **__: Any) -> Any:
        raise NotImplementedError  # ART's takes its place, and is not called

    def log(self, logs: dict[str, float]) -> None:
        raise NotImplementedError  # ART's takes its place

    def train(self) -> None:
        while True:
            inputs = self._prepare_inputs({})
            rate = inputs["config"].learning_rate
            if rate > FAILS_ABOVE:
                raise RuntimeError("the card has no memory left")
            with torch.no_grad():
                self.model.weight += rate
            self._metrics["train"]["loss/learning_rate"].append(rate)
            self.log({"loss": 0.5, "grad_norm": 1.0})

    def save_model(self, folder: str) -> None:
        self.model.save_pretrained(folder)
