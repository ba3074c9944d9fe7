"""The settings of cost: prices in US dollars, and a budget."""

from __future__ import annotations

from pydantic import Field

from babylon_tasks.cost.records import Prices
from babylon_tasks.read_settings import EnvironmentSettings

_Price = Field(default=None, ge=0, allow_inf_nan=False)


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
