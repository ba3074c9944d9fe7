"""Choose the scorer that the settings name, for all trajectories and for those of an archetype."""

from __future__ import annotations

from babylon_tasks.errors import SettingsError
from babylon_tasks.scoring import custom
from babylon_tasks.scoring.base import Scorer
from babylon_tasks.scoring.default import DefaultScorer
from babylon_tasks.scoring.outcome import OutcomeScorer
from babylon_tasks.scoring.profit import ProfitScorer
from babylon_tasks.scoring.ruler import RulerScorer
from babylon_tasks.settings import Settings

SCORERS: dict[str, type[Scorer]] = {
    scorer.name: scorer for scorer in (DefaultScorer, ProfitScorer, OutcomeScorer, RulerScorer)
}


def load_scorer(settings: Settings) -> Scorer:
    """Make the scorer that ``settings.scorer`` names; raises SettingsError."""
    name = settings.scorer
    if ":" in name:
        return custom.load(name, settings, SCORERS)
    try:
        return SCORERS[name](settings)
    except KeyError:
        raise SettingsError(
            f"{name}, set by BABYLON_SCORER or BABYLON_ARCHETYPE_SCORERS, is not a scorer; "
            f"choose one of: {', '.join(SCORERS)}, or module:Class"
        ) from None


class Scorers:
    """A scorer for every archetype, each made with that archetype's settings."""

    def __init__(self, settings: Settings) -> None:
        """Load every scorer that the settings name; raises SettingsError."""
        self._usual = load_scorer(settings)
        self._special = {
            archetype: load_scorer(_settings_of(settings, archetype))
            for archetype in {**settings.archetype_weights, **settings.archetype_scorers}
        }

    @property
    def needs_judge(self) -> bool:
        """Whether any of them needs the judge."""
        return any(isinstance(s, RulerScorer) for s in (self._usual, *self._special.values()))

    def scorer_for(self, archetype: str | None) -> Scorer:
        """Return the archetype's own scorer, else the default one; case does not matter."""
        return self._special.get((archetype or "").strip().casefold(), self._usual)


def _settings_of(settings: Settings, archetype: str) -> Settings:
    return settings.model_copy(
        update={
            "scorer": settings.archetype_scorers.get(archetype, settings.scorer),
            "reward_weights": settings.archetype_weights.get(archetype, settings.reward_weights),
        }
    )
