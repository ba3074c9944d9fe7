"""Parameters, states and evidence as they are on record, where another version may have put them.

What is unknown here is refused, never passed over: without a part of its state a comparison would
conclude something else.
"""

from __future__ import annotations

from typing import TypeVar

import msgspec

from babylon_tasks.comparison.conclusion import ComparisonEvidence, ComparisonState
from babylon_tasks.comparison.parameters import ComparisonParameters
from babylon_tasks.errors import AnotherVersion

_Recorded = TypeVar("_Recorded")
_GO_ON = "run that version, or `babylon-tasks compare stop --reason TEXT` and begin another"


def parameters_of(comparison: int, text: str) -> ComparisonParameters:
    """Decode a comparison's parameters; raises AnotherVersion."""
    return _decoded(
        text, ComparisonParameters, f"the parameters of comparison {comparison}", _GO_ON
    )


def state_after(comparison: int, window: str, text: str) -> ComparisonState:
    """Decode the state that a window has left; raises AnotherVersion."""
    what = f"the state of comparison {comparison} after {window}"
    return _decoded(text, ComparisonState, what, _GO_ON)


def evidence_of(window: str, text: str) -> ComparisonEvidence:
    """Decode what a window has shown; raises AnotherVersion."""
    return _decoded(text, ComparisonEvidence, f"the evidence of {window}", "that version shows it")


def _decoded(text: str, kind: type[_Recorded], what: str, todo: str) -> _Recorded:
    try:
        return msgspec.json.decode(text, type=kind)
    except msgspec.ValidationError as error:
        raise AnotherVersion(f"another version has recorded {what} ({error}): {todo}") from None
