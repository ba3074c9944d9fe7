"""Load an operator's scorer, ``module:Class``, and check what it returns."""

from __future__ import annotations

import inspect
import math
from collections.abc import Collection, Sequence
from importlib import import_module

from babylon_tasks.errors import ScoringFailed, SettingsError
from babylon_tasks.mask_secrets import Mask
from babylon_tasks.records import Evidence, Score
from babylon_tasks.scoring.base import Scorer
from babylon_tasks.settings import Settings


def load(path: str, settings: Settings, taken: Collection[str]) -> Scorer:
    """Make the scorer class that ``path`` names, with its results checked; raises SettingsError.

    ``taken`` are the names of the existing scorers.
    """
    module_name, _, class_name = path.partition(":")
    mask = Mask(settings)
    try:
        module = import_module(module_name)
    except Exception as error:
        raise SettingsError(
            f"scorer {path}: module {module_name} cannot be imported ({_described(error, mask)}); "
            "it must be installed, or be in a folder on PYTHONPATH, wherever windows are scored"
        ) from error
    scorer = getattr(module, class_name, None)
    if scorer is None:
        raise SettingsError(f"scorer {path}: module {module_name} has no {class_name}")
    problem = _no_scorer(scorer, settings, taken)
    if problem is not None:
        raise SettingsError(f"scorer {path} {problem}; docs/scorers.md describes the interface")
    try:
        made = scorer(settings)
    except Exception as error:
        raise SettingsError(
            f"scorer {path} cannot be created: {_described(error, mask)}"
        ) from error
    return CheckedScorer(path, made, mask)


class CheckedScorer:
    """An operator's scorer whose results are checked."""

    def __init__(self, path: str, scorer: Scorer, mask: Mask) -> None:
        self.path = path
        self.name = scorer.name
        self.version = scorer.version
        self._scorer = scorer
        self._mask = mask

    def rewards(
        self, members: Sequence[Evidence], reference: Sequence[Evidence]
    ) -> Sequence[Score | None]:
        """Return the scorer's results; raises ScoringFailed, naming it, where they are invalid."""
        try:
            scores = list(self._scorer.rewards(members, reference))
        except Exception as error:
            raise self._failed(f"raised {_described(error, self._mask)}") from error
        if len(scores) != len(members):
            raise self._failed(f"returned {len(scores)} scores for {len(members)} trajectories")
        for number, score in enumerate(scores, start=1):
            problem = _unusable(score)
            if problem is not None:
                raise self._failed(
                    f"gave trajectory {number} of a group of {len(scores)} {problem}"
                )
        return scores

    def _failed(self, what: str) -> ScoringFailed:
        return ScoringFailed(
            f"scorer {self.path} {what}; fix it, restart the cpu-workers, and retry failed "
            "windows with `babylon-tasks windows retry`"
        )


def _no_scorer(scorer: object, settings: Settings, taken: Collection[str]) -> str | None:
    if not inspect.isclass(scorer):
        return "is not a class"
    for attribute in ("name", "version"):
        value = getattr(scorer, attribute, None)
        if not isinstance(value, str) or not value.strip():
            return f"has no {attribute}, which must be a string"
    if scorer.name in taken:  # type: ignore[attr-defined]
        return f"has the name {scorer.name}, which another scorer has"  # type: ignore[attr-defined]
    if not callable(getattr(scorer, "rewards", None)):
        return "has no method rewards(members, reference)"
    try:
        inspect.signature(scorer).bind(settings)
    except TypeError as error:
        return f"cannot be created from the settings alone: {error}"
    try:
        inspect.signature(scorer.rewards).bind(None, (), ())  # type: ignore[attr-defined]
    except TypeError as error:
        return f"has a method rewards that does not take members, reference: {error}"
    return None


def _unusable(score: object) -> str | None:
    if score is None:
        return None
    if not isinstance(score, Score):
        return f"a {type(score).__name__}, neither a Score nor None"
    if not _is_number(score.reward) or not 0 <= score.reward <= 1:
        return f"the reward {score.reward!r}, not a number in [0, 1]"
    components: object = score.components
    if not isinstance(components, dict):
        return "components that are not a dict"
    for name, value in components.items():
        if not isinstance(name, str) or not _is_number(value):
            return f"a component {name!r} of {value!r}, not a finite number"
    return None


def _is_number(value: object) -> bool:
    return isinstance(value, int | float) and not isinstance(value, bool) and math.isfinite(value)


def _described(error: Exception, mask: Mask) -> str:
    return mask.text(f"{type(error).__name__}: {error}")[
        :300
    ]  # cut later: half a secret is not known
