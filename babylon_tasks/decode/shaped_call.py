"""What a recorded call says of parameters that shaped the sample.

The recorders name them in ``shaped``; who records by hand writes them as the request had them, or
as the AI SDK names them.
"""

from __future__ import annotations

import re
from operator import attrgetter
from typing import Any

from msgspec import Struct

from babylon_tasks.shaped_sampling import is_neutral


class ShapingKeys(Struct, kw_only=True, gc=False):
    """The keys of a recorded call that are such parameters; any of another name says nothing."""

    shaped: Any = None
    top_k: Any = None
    topK: Any = None
    min_p: Any = None
    minP: Any = None
    frequency_penalty: Any = None
    frequencyPenalty: Any = None
    presence_penalty: Any = None
    presencePenalty: Any = None
    repetition_penalty: Any = None
    repetitionPenalty: Any = None
    logit_bias: Any = None
    logitBias: Any = None
    response_format: Any = None
    responseFormat: Any = None


_KEYS = ShapingKeys.__struct_fields__
_PARAMETERS = [re.sub("[A-Z]", lambda letter: f"_{letter[0].lower()}", key) for key in _KEYS]
_values = attrgetter(*_KEYS)
_NOTHING = (None,) * len(_KEYS)  # of most calls


def is_shaped(call: ShapingKeys) -> bool:
    """Check whether the sample is another than the policy's own, at its temperature and top_p."""
    values = _values(call)
    if values == _NOTHING:
        return False
    return bool(call.shaped) or any(
        name != "shaped" and value is not None and not is_neutral(name, value)
        for name, value in zip(_PARAMETERS, values, strict=True)
    )
