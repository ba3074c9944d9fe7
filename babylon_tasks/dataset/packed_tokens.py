"""Token ids and log-probabilities of a captured call as bytes, little-endian. Pure."""

from __future__ import annotations

import sys
from array import array
from collections.abc import Sequence
from typing import Any, Literal

IDS: Literal["i"] = "i"  # int32
LOGPROBS: Literal["f"] = "f"  # float32


def packed(kind: Literal["i", "f"], values: Sequence[float] | None) -> bytes | None:
    """Pack values; raises OverflowError or TypeError for those that are none of the kind."""
    return None if values is None else _little_endian(array(kind, values)).tobytes()


def unpacked(kind: Literal["i", "f"], content: bytes | None) -> tuple[Any, ...]:
    """Unpack what ``packed`` made; nothing is an empty sequence."""
    return tuple(_little_endian(array(kind, content or b"")))


def _little_endian(values: array[Any]) -> array[Any]:
    if sys.byteorder == "big":
        values.byteswap()
    return values
