"""Load an operator's scorer, ``module:Class``, and check what it returns."""

from __future__ import annotations

import inspect
import math
from collections.abc import Collection, Sequence
from importlib import import_module

from babylon_tasks.errors import ScoringFailed, SettingsError
from babylon_tasks.records import Evidence, Score
from babylon_tasks.scoring.base import Scorer
from babylon_tasks.settings import Settings


def load(path: str, settings: Settings, taken: Collection[str]) -> Scorer:
    """An instance of the class that ``path`` names, its results checked; raises SettingsError.

    ``taken`` are the names of scorers that there are already.
    """
    module_name, _, class_name = path.partition(":")
    try:
        module = import_module(module_name)
    except Exception as error:
        raise SettingsError(
            f"scorer {path}: module {module_name} cannot be imported ({_described(error)}); it "
            "must be installed, or lie in a folder on PYTHONPATH, wherever windows are scored"
        ) from error
    scorer = getattr(module, class_name, None)
    if scorer is None:
        raise SettingsError(f"scorer {path}: module {module_name} has no {class_name}")
    wrong = _no_scorer(scorer, settings, taken)
    if wrong is not None:
        raise SettingsError(f"scorer {path} {wrong}; docs/scorers.md shows what a scorer is")
    try:
        made = scorer(settings)
    except Exception as error:
        raise SettingsError(f"scorer {path} cannot be made: {_described(error)}") from error
    return CheckedScorer(path, made)


class CheckedScorer:
    """An operator's scorer whose results are checked."""

    def __init__(self, path: str, scorer: Scorer) -> None:
        self.path = path
        self.name = scorer.name
        self.version = scorer.version
        self._scorer = scorer

    def rewards(
        self, members: Sequence[Evidence], reference: Sequence[Evidence]
    ) -> Sequence[Score | None]:
        """The scorer's results; raises ScoringFailed, which names it, where they are invalid."""
        try:
            found = list(self._scorer.rewards(members, reference))
        except Exception as error:
            raise self._failed(f"raised {_described(error)}") from error
        if len(found) != len(members):
            raise self._failed(f"gave {len(found)} scores for {len(members)} trajectories")
        for number, score in enumerate(found, start=1):
            wrong = _unusable(score)
            if wrong is not None:
                raise self._failed(f"gave trajectory {number} of a group of {len(found)} {wrong}")
        return found

    def _failed(self, what: str) -> ScoringFailed:
        return ScoringFailed(
            f"scorer {self.path} {what}; fix it, restart the cpu-workers, and bring back failed "
            "windows with `babylon-tasks windows retry`"
        )


def _no_scorer(scorer: object, settings: Settings, taken: Collection[str]) -> str | None:
    if not inspect.isclass(scorer):
        return "is no class"
    for attribute in ("name", "version"):
        value = getattr(scorer, attribute, None)
        if not isinstance(value, str) or not value.strip():
            return f"has no {attribute}, which must be a text"
    if scorer.name in taken:  # type: ignore[attr-defined]
        return f"calls itself {scorer.name}, as another scorer is called"  # type: ignore[attr-defined]
    if not callable(getattr(scorer, "rewards", None)):
        return "has no method rewards(members, reference)"
    try:
        inspect.signature(scorer).bind(settings)
    except TypeError as error:
        return f"cannot be made from the settings alone: {error}"
    try:
        inspect.signature(scorer.rewards).bind(None, (), ())  # type: ignore[attr-defined]
    except TypeError as error:
        return f"has a method rewards that takes something else than members, reference: {error}"
    return None


def _unusable(score: object) -> str | None:
    if score is None:
        return None
    if not isinstance(score, Score):
        return f"a {type(score).__name__}, neither a Score nor None"
    if not _is_number(score.reward) or not 0 <= score.reward <= 1:
        return f"the reward {score.reward!r}, no number in [0, 1]"
    components: object = score.components
    if not isinstance(components, dict):
        return "components that are no dict"
    for name, value in components.items():
        if not isinstance(name, str) or not _is_number(value):
            return f"a component {name!r} of {value!r}, no finite number"
    return None


def _is_number(value: object) -> bool:
    return isinstance(value, int | float) and not isinstance(value, bool) and math.isfinite(value)


def _described(error: Exception) -> str:
    return f"{type(error).__name__}: {error}"[:300]
