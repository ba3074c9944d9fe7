"""The settings of rewards: JSON objects and names of scorers, validated when read.

Errors are ValueError, which pydantic reports with the setting's name.
"""

from __future__ import annotations

import json
import re
from collections.abc import Sequence
from typing import Annotated, Any

from pydantic import AfterValidator, BeforeValidator, Field
from pydantic_settings import NoDecode

# The components of a reward, with the weights of Babylon's first system.
DEFAULT_WEIGHTS = {"profit": 0.5, "decisions": 0.3, "activity": 0.2}
_SCORER = re.compile(r"[a-z_]+|[^\W\d]\w*(\.[^\W\d]\w*)*:[^\W\d]\w*")


def parsed(value: object) -> object:
    """Read a setting that is JSON; raises ValueError."""
    if not isinstance(value, str):
        return value
    try:
        return json.loads(value, object_pairs_hook=_object)
    except json.JSONDecodeError:
        raise ValueError('not JSON; write it as {"name": …}, names in double quotes') from None


def _object(pairs: Sequence[tuple[str, Any]]) -> dict[str, Any]:
    found = dict(pairs)
    if len(found) < len(pairs):
        raise ValueError("a name occurs twice")
    return found


def _folded(value: object) -> object:
    """Casefold names of archetypes, which are compared without regard to case."""
    given = parsed(value)
    if not isinstance(given, dict):
        return given
    folded = _object([(str(name).strip().casefold(), one) for name, one in given.items()])
    if "" in folded:
        raise ValueError("an archetype in it has no name")
    return folded


def _complete(weights: dict[str, float]) -> dict[str, float]:
    unknown = ", ".join(sorted(set(weights) - set(DEFAULT_WEIGHTS)))
    if unknown:
        raise ValueError(
            f"{unknown} is not a component; the components are {', '.join(DEFAULT_WEIGHTS)}"
        )
    complete = {name: weights.get(name, 0.0) for name in DEFAULT_WEIGHTS}
    if not complete["profit"] + complete["decisions"]:
        raise ValueError("profit or decisions must weigh something: activity only breaks ties")
    return complete


def _named(scorer: str) -> str:
    if not _SCORER.fullmatch(scorer):
        raise ValueError("neither a scorer's name nor module:Class")
    return scorer


ScorerName = Annotated[str, AfterValidator(_named)]
_Weight = Annotated[float, Field(ge=0, allow_inf_nan=False)]
_Weights = Annotated[dict[str, _Weight], AfterValidator(_complete)]

# NoDecode: pydantic-settings' own JSON errors do not name the setting.
Weights = Annotated[_Weights, NoDecode, BeforeValidator(parsed)]
WeightsByArchetype = Annotated[dict[str, _Weights], NoDecode, BeforeValidator(_folded)]
ScorersByArchetype = Annotated[dict[str, ScorerName], NoDecode, BeforeValidator(_folded)]
