"""The settings of cost: prices in US dollars, and a budget."""

from __future__ import annotations

from typing import Self

from pydantic import Field, model_validator

from babylon_tasks.cost.records import Prices
from babylon_tasks.read_settings import EnvironmentSettings

_Price = Field(default=None, ge=0)


class CostSettings(EnvironmentSettings):
    """A part of ``Settings``. ``babylon-tasks cost`` prices all that is on record with them."""

    gpu_hour_price: float | None = _Price
    """What an hour of the machine costs that trains (`cpu`, `local`), in US dollars. Without a
    price what it would price is reported as not known, never as 0 (docs/cost.md). All prices apply
    at once, to what was spent before, too."""
    wandb_training_hour_price: float | None = _Price
    """What an hour of training at W&B costs (`serverless`); 0 while it is free."""
    wandb_prompt_price: float | None = _Price
    """What a million tokens of prompts cost where W&B serves."""
    wandb_completion_price: float | None = _Price
    """What a million tokens of answers cost where W&B serves."""
    ruler_prompt_price: float | None = _Price
    """What a million tokens of prompts cost at the judge. Without both of its prices: what litellm
    reported for each answer, where it knows the model's price."""
    ruler_completion_price: float | None = _Price
    """What a million tokens of answers cost at the judge."""

    budget: float | None = Field(default=None, gt=0)
    """The most that learning (training, judge, screens) of a lineage may cost in
    `BABYLON_BUDGET_HOURS`, in US dollars. Once it is spent no step is planned until less of it is;
    what has begun is finished, scoring and serving go on. It needs a price of training. Without it:
    no bound."""
    budget_hours: float = Field(default=24, gt=0, le=720)
    """How many of the last hours `BABYLON_BUDGET` covers."""

    @model_validator(mode="after")
    def _cost(self) -> Self:
        prices = self.gpu_hour_price, self.wandb_training_hour_price
        if self.budget is not None and prices == (None, None):
            raise ValueError(
                "BABYLON_BUDGET needs the price of training: set BABYLON_GPU_HOUR_PRICE, or "
                "BABYLON_WANDB_TRAINING_HOUR_PRICE where W&B trains"
            )
        return self

    @property
    def prices(self) -> Prices:
        """The prices together."""
        return Prices(
            gpu_hour=self.gpu_hour_price,
            wandb_training_hour=self.wandb_training_hour_price,
            wandb_prompt=self.wandb_prompt_price,
            wandb_completion=self.wandb_completion_price,
            ruler_prompt=self.ruler_prompt_price,
            ruler_completion=self.ruler_completion_price,
        )
