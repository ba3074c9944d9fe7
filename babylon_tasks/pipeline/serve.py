"""Start the trainer's inference and publish its address, before anything has been trained."""

from __future__ import annotations

import structlog

from babylon_tasks.db import lineages
from babylon_tasks.db.session import session
from babylon_tasks.pipeline.begin_comparison import comparison_outlook
from babylon_tasks.pipeline.log_steps import log_missed_steps
from babylon_tasks.pipeline.promotion_outlook import promotion_outlook
from babylon_tasks.pipeline.start_trainer import start_trainer
from babylon_tasks.registry.serving import Serving, serving
from babylon_tasks.settings import Settings
from babylon_tasks.training.base import TrainerLike

log = structlog.get_logger(__name__)


def serve(settings: Settings, trainer: TrainerLike, *, actor: str = "gpu-worker") -> Serving:
    """Start the trainer if it is not running, store its address; return what agents should use.

    A worker on queue gpu calls this when it starts: agents of a new lineage sample the base
    model, or there would never be anything to train on. Raises what ``start_trainer`` raises.
    """
    ready = start_trainer(settings, trainer, actor=actor)
    log_missed_steps(settings, trainer)
    with session(settings) as connection:
        lineages.announce(
            connection,
            settings.lineage,
            backend=ready.backend,
            base_url=ready.base_url,
            inference_name=ready.inference_name,
        )
        outlook = promotion_outlook(connection, settings)
        write = log.info if outlook.lacks is None else log.warning
        write(
            "promotion_mode.chosen",
            mode=outlook.mode,
            why=outlook.why,
            lacks=outlook.lacks,
            todo=outlook.todo,
        )
        compared = comparison_outlook(connection, settings)
        write = log.info if compared.lacks is None else log.warning
        write("comparison.looked_for", found=compared.text)
        return serving(connection, settings.lineage)
