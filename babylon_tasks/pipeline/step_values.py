"""What the steps of this trainer are trained with."""

from __future__ import annotations

from babylon_tasks.dataset.training_defaults import TrainingValues, training_values
from babylon_tasks.settings import Settings
from babylon_tasks.training.model_size import parameters
from babylon_tasks.training.trainer_start import TrainerReady


def step_values(settings: Settings, ready: TrainerReady) -> TrainingValues:
    """Choose them: the settings', else the defaults of the trainer's backend and model."""
    return training_values(
        settings,
        ready.backend,
        parameters(settings.base_model),
        longest_row=ready.longest_row,
        carries=ready.carries,
    )
