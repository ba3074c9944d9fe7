"""Which scorer the settings name."""

from __future__ import annotations

from babylon_tasks.errors import SettingsError
from babylon_tasks.scoring.base import Scorer
from babylon_tasks.scoring.default import DefaultScorer
from babylon_tasks.scoring.outcome import OutcomeScorer
from babylon_tasks.scoring.profit import ProfitScorer
from babylon_tasks.settings import Settings

SCORERS: dict[str, type[Scorer]] = {
    scorer.name: scorer for scorer in (DefaultScorer, ProfitScorer, OutcomeScorer)
}


def load_scorer(settings: Settings) -> Scorer:
    """The scorer that ``settings.scorer`` names; raises SettingsError."""
    try:
        return SCORERS[settings.scorer](settings)
    except KeyError:
        raise SettingsError(
            f"BABYLON_SCORER={settings.scorer} is not a scorer; choose one of: {', '.join(SCORERS)}"
        ) from None
