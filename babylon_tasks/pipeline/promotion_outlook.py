"""Which mode of promotion applies to a lineage, and what it lacks, for the log and for people."""

from __future__ import annotations

from msgspec import Struct

from babylon_tasks.db import comparisons, lineages
from babylon_tasks.db.session import Connection
from babylon_tasks.pipeline.held_out_questions import held_out_questions
from babylon_tasks.registry.promotion_modes import PromotionMode, chosen, impediment
from babylon_tasks.settings import Settings
from babylon_tasks.training.backends import named


class PromotionOutlook(Struct, frozen=True):
    """``lacks``: why nothing can be promoted now, and ``todo``; None where it can."""

    mode: PromotionMode
    why: str
    lacks: str | None = None
    todo: str | None = None

    @property
    def text(self) -> str:
        """All of it in one line."""
        chosen_by = f"{self.mode} ({self.why})"
        return chosen_by if self.lacks is None else f"{chosen_by}; {self.lacks}"


def promotion_outlook(connection: Connection, settings: Settings) -> PromotionOutlook:
    """Look at the settings, the lineage's backend and the held-out questions."""
    lineage = lineages.get(connection, settings.lineage)
    backend = backend_of(settings, "auto" if lineage is None else lineage.backend)
    mode, why = chosen(settings, backend)
    found = impediment(mode, settings, backend)
    if found is None and mode in (PromotionMode.SCREENED, PromotionMode.PROVEN):
        found = _too_few(connection, settings)
    if found is None and mode is PromotionMode.PROVEN and lineage is not None:
        found = _without_trials(connection, settings.lineage)
    return PromotionOutlook(mode, why) if found is None else PromotionOutlook(mode, why, *found)


def backend_of(settings: Settings, recorded: str) -> str:
    """Name the backend that a lineage is trained by; ``auto`` until a trainer has served."""
    return named(settings)[0] if recorded == "auto" else recorded


def _without_trials(connection: Connection, lineage: str) -> tuple[str, str] | None:
    if comparisons.running(connection, lineage) is not None:
        return None
    return (
        "no comparison runs, so what passes its screen is not tried, and nothing is promoted",
        "`status` says what a comparison lacks; `babylon-tasks models promote STEP` promotes",
    )


def _too_few(connection: Connection, settings: Settings) -> tuple[str, str] | None:
    count = len(held_out_questions(connection, settings))
    if count >= settings.min_screen_questions:
        return None
    return (
        f"{count} held-out questions of at least {settings.min_screen_questions}: nothing is "
        "screened, and nothing promoted, until there are more",
        "wait for the next held-out hour, or raise BABYLON_HELD_OUT_SHARE",
    )
